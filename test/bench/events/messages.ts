import { setTimeout as sleep } from "node:timers/promises";
import { Kafka, logLevel } from "kafkajs";
import { startRedisServer } from "../../redis-server.ts";
import { kafkaObstacle, startKafka } from "../../triggers/brokers/kafka.ts";
import { createBench, done, numbers, plain, type SourceUnderTest } from "../../triggers/sources/bench.ts";
import { printTable } from "../report.ts";

const COUNT = 10_000;
const PUBLISHERS = 16;
const KEYS = 100;
const PARTITIONS = 4;
const CONCURRENCY = 32;
const FUNCTION_MS = 5;

interface Way {
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly functionMs: number;
}

/** Messages a second from a topic that is full, through the trigger's consumer to a function that answers after so long, each acknowledged. */
async function rate(under: SourceUnderTest, { metadata, functionMs }: Way, count: number): Promise<number> {
  const bench = createBench(under);
  const topic = await bench.newTopic();
  const texts = numbers(count);
  const part = Math.ceil(count / PUBLISHERS);
  await Promise.all(
    Array.from({ length: PUBLISHERS }, (_, at) =>
      bench.publish(
        topic,
        plain(texts.slice(at * part, (at + 1) * part), (text) => `key-${Number(text) % KEYS}`),
      ),
    ),
  );
  let first = 0;
  let delivered = 0;
  const from = Promise.withResolvers<number>();
  const { consumer } = await bench.begin(
    async () => {
      first ||= performance.now();
      if (functionMs > 0) await sleep(functionMs);
      delivered += 1;
      if (delivered === count) from.resolve(performance.now());
      return done();
    },
    { topic, metadata, concurrency: CONCURRENCY },
  );
  const last = await from.promise;
  while (consumer.stats().held > 0) await sleep(5);
  await bench.closeAll();
  return Math.round((count / (last - first)) * 1_000);
}

async function table(
  title: string,
  under: SourceUnderTest,
  ways: readonly Way[],
  count: number,
): Promise<void> {
  const rows: string[][] = [
    [`${title}: ${count} messages of ${KEYS} keys, ${CONCURRENCY} at once`, "messages/s"],
  ];
  for (const way of ways) rows.push([way.name, String(await rate(under, way, count))]);
  printTable(rows);
}

const answering = (functionMs: number): string =>
  functionMs === 0 ? "function answers at once" : `function takes ${functionMs} ms`;

/** The built-in topics. */
export async function benchRedisStreams(share: number): Promise<void> {
  const broker = await startRedisServer("always");
  const under: SourceUnderTest = {
    type: "redis-streams",
    redisUrl: broker.url,
    createTopic: async () => undefined,
    metadata: { start: "earliest" },
    keyOrder: true,
    carriesHeaders: true,
  };
  const ways = [0, FUNCTION_MS].flatMap((functionMs) => [
    { name: `in order of keys, ${answering(functionMs)}`, metadata: { start: "earliest" }, functionMs },
  ]);
  try {
    await table("redis-streams", under, ways, COUNT * share);
  } finally {
    await broker.remove();
  }
}

/** Apache Kafka, where it can be had on this machine. */
export async function benchKafka(share: number): Promise<void> {
  const obstacle = kafkaObstacle();
  if (obstacle !== undefined) {
    console.log(`kafka: not measured, ${obstacle}`);
    return;
  }
  const broker = await startKafka();
  const metadata = { bootstrapServers: broker.address, offsetResetPolicy: "earliest" };
  const under: SourceUnderTest = {
    type: "kafka",
    createTopic: (topic) => createTopic(broker.address, topic),
    metadata,
    keyOrder: true,
    carriesHeaders: true,
  };
  const ways = [0, FUNCTION_MS].flatMap((functionMs) =>
    (["partition", "key"] as const).map((ordering) => ({
      name: `${PARTITIONS} partitions, in order of ${ordering}s, ${answering(functionMs)}`,
      metadata: { ...metadata, ordering },
      functionMs,
    })),
  );
  try {
    await table("kafka", under, ways, COUNT * share);
  } finally {
    await broker.remove();
  }
}

async function createTopic(address: string, topic: string): Promise<void> {
  const admin = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }], waitForLeaders: true });
  await admin.disconnect();
}
