import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { startRedisServer } from "../../redis-server.ts";
import { type ServedMessage, startQueuesService } from "../queues-service.ts";
import { createBench, plain, type SourceUnderTest } from "./bench.ts";
import { until } from "../../until.ts";

/** Two replicas of the service take the messages of one trigger side by side: all of them come, what is in order stays so, and the status counts all. */
export async function sharedTriggerCase(
  under: SourceUnderTest,
  /** Names what an event's id says of its lane and of its place there; undefined = no order is promised. */
  placeOf: ((id: string) => { lane: string; at: number }) | undefined,
): Promise<void> {
  const redis = await startRedisServer();
  const both = Promise.withResolvers<void>();
  const seen = new Set<string>();
  const service = await startQueuesService({
    redisUrl: redis.url,
    replicas: ["a", "b"],
    work: async ({ by }: ServedMessage) => {
      seen.add(by);
      if (seen.size === 2) both.resolve();
      // A fast one does not take all of them before the other has begun.
      await Promise.race([both.promise, sleep(200)]);
    },
  });
  try {
    const bench = createBench(under);
    const topic = await bench.newTopic();
    await service.create(
      "wide",
      { messageQueueType: under.type, topic, metadata: under.metadata, maxReplicaCount: 2 },
      under.secret,
    );
    await service.untilReady("wide", "Connected");
    let sent = 0;
    const send = async (count: number): Promise<void> => {
      const texts = Array.from({ length: count }, (_, at) => String(sent + at));
      sent += count;
      await bench.publish(
        topic,
        plain(texts, (text) => `key ${Number(text) % 8}`),
      );
    };
    await until("both take part", async () => {
      await send(8);
      return seen.size === 2;
    });
    await send(40);
    const ids = () => new Set(service.delivered.map(({ id }) => id));
    await until("all are delivered", () => ids().size === sent);
    await until("nothing is left", async () => (await service.statusOf("wide"))?.lag === 0);
    expect(new Set(service.delivered.map(({ text }) => text)).size).toBe(sent);
    // The members join one after the other: what runs just then comes once more.
    expect(service.delivered.length - sent).toBeLessThanOrEqual(16);
    if (!placeOf) return;
    const places = [...ids()].map(placeOf);
    for (const mine of Map.groupBy(places, ({ lane }) => lane).values()) {
      const order = mine.map(({ at }) => at);
      expect(order).toEqual(order.toSorted((a, b) => a - b));
    }
  } finally {
    await service.stop();
    await redis.remove();
  }
}
