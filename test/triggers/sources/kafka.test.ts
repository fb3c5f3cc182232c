import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type Admin, Kafka, logLevel } from "kafkajs";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Deliver } from "../../../engine/triggers/delivery/event.ts";
import { type KafkaBroker, kafkaObstacle, startKafka } from "../brokers/kafka.ts";
import {
  type Bench,
  CONCURRENCY,
  createBench,
  done,
  failed,
  numbers,
  plain,
  type SourceUnderTest,
  textOf,
} from "./bench.ts";
import { sourceContract } from "./contract.ts";
import { sharedTriggerCase } from "./shared-trigger.ts";
import { until } from "../../until.ts";

const obstacle = kafkaObstacle();
if (obstacle !== undefined) test.skip(`source kafka: ${obstacle}`, () => undefined);
else {
  const theBroker = sourceContract("kafka", startKafka, {
    "ordered per partition": underTest("partition", 1),
    "key-ordered": underTest("key", 3),
  });
  kafkaCases(theBroker, underTest("partition", 4));
}

function underTest(ordering: "key" | "partition", numPartitions: number) {
  return (broker: KafkaBroker): SourceUnderTest => {
    const metadata = {
      bootstrapServers: broker.address,
      offsetResetPolicy: "earliest",
      sessionTimeoutMs: "6000",
    };
    return {
      type: "kafka",
      createTopic: (topic: string) => createTopic(broker, topic, numPartitions),
      metadata: { ...metadata, ordering },
      strict: metadata,
      latest: { ...metadata, ordering, offsetResetPolicy: "latest" },
      keyOrder: ordering === "key",
      carriesHeaders: true,
    };
  };
}

async function asked<T>({ address }: KafkaBroker, question: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    return await question(admin);
  } finally {
    await admin.disconnect();
  }
}

const LONGER_THAN_SESSION_MS = 7_000;

interface Way {
  readonly at: string;
  readonly sasl: string;
  readonly secret: Readonly<Record<string, string>>;
}

function kafkaCases(
  theBroker: () => Promise<KafkaBroker>,
  open: (broker: KafkaBroker) => SourceUnderTest,
): void {
  describe("source kafka, beyond the contract", { timeout: 300_000 }, () => {
    let broker: KafkaBroker;
    let under: SourceUnderTest;
    let bench: Bench;
    beforeAll(async () => {
      broker = await theBroker();
      under = open(broker);
      bench = createBench(under);
    }, 600_000);
    afterEach(() => bench?.closeAll());
    const collect =
      (seen: string[]): Deliver =>
      (_target, event) => {
        seen.push(textOf(event));
        return Promise.resolve(done());
      };

    test("connects with TLS, with a certificate, and with PLAIN and SCRAM; and says why not", async () => {
      const topic = await bench.newTopic();
      await bench.publish(topic, plain(["hello"]));
      const { ca, username, password } = broker;
      const named = { ca, username, password };
      const ways: Way[] = [
        { at: broker.tls, sasl: "none", secret: { ca } },
        {
          at: broker.mutualTls,
          sasl: "none",
          secret: { ca, cert: broker.clientCertificate, key: broker.clientKey },
        },
        { at: broker.saslTls, sasl: "plaintext", secret: named },
        { at: broker.saslTls, sasl: "scram_sha256", secret: named },
        { at: broker.saslTls, sasl: "scram_sha512", secret: named },
      ];
      const begun = (way: Way, seen: string[]) => {
        const metadata = { ...under.metadata, bootstrapServers: way.at, tls: "enable", sasl: way.sasl };
        return bench.begin(collect(seen), { topic, metadata, secret: way.secret });
      };
      const all = await Promise.all(
        ways.map(async (way) => {
          const seen: string[] = [];
          await begun(way, seen);
          return seen;
        }),
      );
      await until("each way leads to the message", () => all.every((seen) => seen.includes("hello")));
      await bench.closeAll();
      const wrong: (Way & { readonly why: RegExp })[] = [
        {
          at: broker.saslTls,
          sasl: "scram_sha512",
          secret: { ...named, password: "wrong" },
          why: /authentication/i,
        },
        {
          at: broker.saslTls,
          sasl: "plaintext",
          secret: { ...named, username: "bob" },
          why: /authentication/i,
        },
        { at: broker.tls, sasl: "none", secret: {}, why: /certificate/i },
        { at: broker.mutualTls, sasl: "none", secret: { ca }, why: /certificate/i },
      ];
      const refused = await Promise.all(
        wrong.map(async (way) => ({ why: way.why, states: (await begun(way, [])).states })),
      );
      // A busy broker may not answer in time at first.
      await until("each is told why", () =>
        refused.every(({ states, why }) => states.some(({ error = "" }) => why.test(error))),
      );
      expect(refused.flatMap(({ states }) => states).filter(({ connected }) => connected)).toEqual([]);
    });

    test("shares a topic with a second member and takes over when one leaves: all in order, little twice", async () => {
      const topic = await bench.newTopic();
      const uid = randomUUID();
      let published = 0;
      const publish = async (count: number): Promise<void> => {
        await bench.publish(
          topic,
          plain(numbers(count), (text) => `key ${Number(text) % 16}`),
        );
        published += count;
      };
      await publish(240);
      const deliveries: { id: string; by: string }[] = [];
      const member =
        (by: string): Deliver =>
        async (_target, event) => {
          await sleep(10);
          deliveries.push({ id: event.id, by });
          return done();
        };
      const first = await bench.begin(member("first"), { topic, uid });
      await until("the first is at work", () => deliveries.length >= 20);
      const second = await bench.begin(member("second"), { topic, uid });
      // A fast machine is done with all of them before a second member has joined: it finds work all the same.
      await until("the second is at work", async () => {
        if (deliveries.some(({ by }) => by === "second")) return true;
        await publish(16);
        await sleep(100);
        return false;
      });
      await publish(64);
      await bench.end(first);
      const ids = () => new Set(deliveries.map(({ id }) => id));
      await until("all are delivered", () => ids().size === published);
      await until("the second has settled all", () => second.consumer.stats().held === 0);
      const byPartition = Map.groupBy(ids(), (id) => id.split("/").at(-2) ?? "");
      for (const mine of byPartition.values()) {
        const offsets = mine.map((id) => Number(id.split("/").at(-1)));
        expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
      }
      // Each join finds at most what ran just then: two of them, and some more where a busy machine makes a member miss its heartbeats.
      expect(deliveries.length - published).toBeLessThanOrEqual(6 * CONCURRENCY);
    });

    test("two replicas of the service share a trigger's partitions, each in order", () =>
      sharedTriggerCase(under, (id) => {
        const [lane = "", at] = id.split("/").slice(-2);
        return { lane, at: Number(at) };
      }));

    test("a partition that is stuck for longer than the session holds up no other, and stays", async () => {
      const topic = await bench.newTopic();
      const send = (partition: number, texts: readonly string[]) =>
        sendTo(
          broker,
          texts.map((text) => ({ topic, partition, text })),
        );
      await send(0, ["stuck", "behind"]);
      let isStuck = true;
      const seen: string[] = [];
      const begun = await bench.begin(
        (_target, event) => {
          const text = textOf(event);
          if (text === "stuck" && isStuck)
            return Promise.resolve({
              kind: "overloaded",
              failure: { status: 503, reason: "function_not_ready", message: "away" },
              afterMs: 100,
            });
          seen.push(text);
          return Promise.resolve(done());
        },
        { topic, maxRetries: 0 },
      );
      await until("it is stuck", () => begun.consumer.stats().failed > 0);
      const from = performance.now();
      for (const text of ["a", "b", "c"]) {
        await send(1, [text]);
        await until(`${text} is delivered`, () => seen.includes(text));
      }
      expect(seen).toEqual(["a", "b", "c"]);
      await sleep(Math.max(0, LONGER_THAN_SESSION_MS - (performance.now() - from)));
      isStuck = false;
      await until("the partition goes on", () => seen.includes("behind"));
      expect(seen).toEqual(["a", "b", "c", "stuck", "behind"]);
      // Not lost once it was there.
      expect(begun.states.at(-1)).toEqual({ connected: true });
      expect(begun.states.filter(({ connected }) => connected).length).toBe(1);
      expect(begun.buried).toEqual([]);
    });

    test("delivers batches in order, as CloudEvents, and buries of one that fails only what is bad", async () => {
      const topic = await bench.newTopic();
      const texts = [...numbers(10).map((text) => `"${text}"`), "no JSON", ...numbers(10)];
      await sendTo(
        broker,
        texts.map((text) => ({ topic, partition: 0, text })),
      );
      const sizes: number[] = [];
      const seen: unknown[] = [];
      const begun = await bench.begin(
        (_target, event) => {
          const isBatch = event.headers["content-type"] === "application/cloudevents-batch+json";
          const items: { data?: unknown; id: string }[] = isBatch
            ? JSON.parse(textOf(event))
            : [{ data: parsed(textOf(event)), id: event.id }];
          if (items.some(({ data }) => data === undefined)) return Promise.resolve(failed("no JSON"));
          sizes.push(items.length);
          seen.push(...items.map(({ data }) => data));
          return Promise.resolve(done());
        },
        { topic, maxRetries: 1, metadata: { ...under.metadata, batchSize: "8" } },
      );
      await until("all but one are delivered", () => seen.length === texts.length - 1);
      await until("that one is buried", () => begun.buried.length === 1);
      await until("all is settled", () => begun.consumer.stats().held === 0);
      expect(seen).toEqual([...numbers(10), ...numbers(10).map(Number)]);
      expect(begun.buried[0]?.message.body.toString()).toBe("no JSON");
      expect(Math.max(...sizes)).toBeGreaterThan(1);
      expect(Math.max(...sizes)).toBeLessThanOrEqual(8);
    });

    test("a group that began with the latest skips nothing afterwards, in new partitions neither", async () => {
      const topic = await bench.newTopic();
      await bench.publish(topic, plain(["old"]));
      const uid = randomUUID();
      const seen: string[] = [];
      const options = { topic, uid, metadata: { ...under.metadata, offsetResetPolicy: "latest" } };
      const before = await bench.begin(collect(seen), options);
      await until("it knows where it began", () =>
        asked(broker, async (admin) => {
          const [group] = await admin.fetchOffsets({ groupId: uid, topics: [topic] });
          return group?.partitions.every(({ offset }) => offset !== "-1") ?? false;
        }).catch(() => false),
      );
      await bench.end(before);
      await asked(broker, (admin) => admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] }));
      await until("the partition is there", () =>
        asked(broker, async (admin) => (await admin.fetchTopicOffsets(topic)).length === 5).catch(
          () => false,
        ),
      );
      await sendTo(
        broker,
        [0, 1, 4].map((partition) => ({ topic, partition, text: `in ${partition}` })),
      );
      await bench.begin(collect(seen), options);
      await until("all three are delivered", () => seen.length === 3);
      expect(seen.toSorted()).toEqual(["in 0", "in 1", "in 4"]);
    });
  });
}

async function createTopic(broker: KafkaBroker, topic: string, numPartitions: number): Promise<void> {
  await asked(broker, async (admin) => {
    await admin.createTopics({ topics: [{ topic, numPartitions }], waitForLeaders: false });
    await until(`topic ${topic} is there`, async () => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] }).catch(() => ({ topics: [] }));
      const partitions = topics.flatMap((known) => known.partitions);
      return partitions.length === numPartitions && partitions.every(({ leader }) => leader >= 0);
    });
  });
}

async function sendTo(
  { address }: KafkaBroker,
  messages: readonly { topic: string; partition: number; text: string }[],
): Promise<void> {
  const producer = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING }).producer();
  await producer.connect();
  await producer.sendBatch({
    topicMessages: messages.map(({ topic, partition, text }) => ({
      topic,
      messages: [{ partition, value: text }],
    })),
  });
  await producer.disconnect();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
