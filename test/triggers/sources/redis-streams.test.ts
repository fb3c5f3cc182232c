import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterEach, describe, expect, test } from "vitest";
import { createSources } from "../../../engine/triggers/queues/sources/index.ts";
import { topicKey } from "../../../engine/triggers/queues/topics/topic-key.ts";
import { createTopics } from "../../../engine/triggers/queues/topics/topics.ts";
import { processLog } from "../../../net/log.ts";
import { redisConnection } from "../../../net/redis.ts";
import { hasRedis, startRedisServer } from "../../redis-server.ts";
import { redisCluster } from "../../workflows/redis-cluster.ts";
import { sharedBroker } from "../brokers/shared-broker.ts";
import { type Bench, createBench, done, numbers, type SourceUnderTest, textOf } from "./bench.ts";
import { contractCases, sourceContract } from "./contract.ts";
import { until } from "../../until.ts";

if (!hasRedis && process.env["CI"] !== "true")
  test.skip("source redis-streams: neither redis-server nor valkey-server is installed", () => undefined);
else {
  sourceContract("redis-streams", () => startRedisServer("always"), {
    "": keyed,
    "statestore, strictly ordered": builtIn({
      type: "statestore",
      metadata: { start: "earliest" },
      strict: { start: "earliest" },
      keyOrder: false,
    }),
  });
  const theCluster = sharedBroker(startCluster);
  contractCases("redis-streams on a Redis Cluster", async () => keyed(await theCluster()));
  clusterCases(theCluster);
  describe("source redis-streams, of a Redis of one's own", () => {
    const theServer = sharedBroker(() => startRedisServer());
    let bench: Bench;
    afterEach(() => bench?.closeAll());

    test("begins with what was published once the trigger was there, if ids of the stream are times", async () => {
      const { url } = await theServer();
      const client = new Redis(url);
      const metadata = { address: url, start: "latest" };
      bench = createBench({ ...keyed({ url }), metadata });
      for (const ids of ["times", "counted"]) {
        const id = (count: number): string => (ids === "times" ? "*" : `${count}-1`);
        await client.xadd(ids, id(1), "body", "before");
        await sleep(20);
        const since = Date.now();
        await sleep(20);
        await client.xadd(ids, id(2), "body", "between");
        const seen: string[] = [];
        const { states } = await bench.begin(
          (_target, event) => {
            seen.push(textOf(event));
            return Promise.resolve(done());
          },
          { topic: ids, since },
        );
        await until("it is connected", () => states.some(({ connected }) => connected));
        await client.xadd(ids, id(3), "body", "after");
        await until("it is delivered", () => seen.includes("after"));
        expect(seen).toEqual(ids === "times" ? ["between", "after"] : ["after"]);
      }
      client.disconnect();
    });
  });
}

/** As a broker that nobody takes away. */
async function startCluster() {
  const cluster = await redisCluster(3);
  const kept = () => Promise.reject(new Error("It stays up"));
  return { url: cluster.url, stop: kept, start: kept, remove: () => cluster.stop() };
}

function clusterCases(theCluster: () => Promise<{ url: string }>): void {
  test("built-in topics on a Redis Cluster are published to and looked at, and groups in them are forgotten", async () => {
    const { url } = await theCluster();
    const connection = redisConnection({ url, log: processLog("test", { level: "error" }), name: "test" });
    await connection.ready(60_000);
    const topics = createTopics(() => connection.client());
    const source = createSources({ redisUrl: () => url }).get("redis-streams");
    try {
      // Enough of them to lie on all nodes.
      for (const topic of numbers(12).map((number) => `orders-${number}`)) {
        const ids = [];
        for (const text of ["a", "b", "c"])
          ids.push(await topics.append("default", { topic, headers: {}, body: Buffer.from(text) }));
        const texts = async (options: { limit: number; after?: string }) =>
          (await topics.read("default", topic, options)).map(({ body }) => body.toString());
        expect(await texts({ limit: 2 })).toEqual(["c", "b"]);
        expect(await texts({ limit: 10, after: ids[0] ?? "" })).toEqual(["b", "c"]);
        const facts = {
          config: source?.config.parse({ start: "earliest" }),
          namespace: "default",
          uid: topic,
          topic,
          secret: {},
        };
        await connection.client().xgroup("CREATE", topicKey("default", topic), topic, "0");
        expect(await source?.waiting?.(facts)).toBe(3);
        await source?.forget?.(facts);
        expect(await connection.client().xinfo("GROUPS", topicKey("default", topic))).toEqual([]);
      }
    } finally {
      await connection.close();
    }
  });
}

function keyed({ url }: { readonly url: string }): SourceUnderTest {
  return builtIn({
    type: "redis-streams",
    metadata: { start: "earliest" },
    strict: { start: "earliest", ordering: "topic" },
    keyOrder: true,
  })({ url });
}

function builtIn(under: Pick<SourceUnderTest, "type" | "metadata" | "strict" | "keyOrder">) {
  return ({ url }: { readonly url: string }): SourceUnderTest => ({
    ...under,
    redisUrl: url,
    createTopic: () => Promise.resolve(),
    latest: {},
    carriesHeaders: true,
  });
}
