import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Deliver, TriggerEvent } from "../../../engine/triggers/delivery/event.ts";
import { redisConnection } from "../../../net/redis.ts";
import { processLog } from "../../../net/log.ts";
import { startRedisServer, type RedisServer } from "../../redis-server.ts";
import { functionObject, functionWorld, startReplica } from "../invocations/replica.ts";
import { openPublisher } from "../topic-publishing.ts";
import { createBench, done, type SourceUnderTest, textOf } from "./bench.ts";
import { until } from "../../until.ts";

/** What comes of asynchronous calls goes to topics of the source. */
export function destinationCases(name: string, open: () => Promise<readonly SourceUnderTest[]>): void {
  describe(`source ${name} as a destination`, { timeout: 300_000 }, () => {
    let own: RedisServer | undefined;
    let unders: readonly SourceUnderTest[];
    let redisUrl: string;
    beforeAll(async () => {
      unders = await open();
      const builtIn = unders[0]?.redisUrl;
      own = builtIn === undefined ? await startRedisServer() : undefined;
      redisUrl = builtIn ?? own?.url ?? "";
    }, 600_000);
    afterAll(async () => {
      await own?.remove();
    });

    test("gets answers and failed calls, with what happened as attributes, though another's broker is away", async () => {
      for (const under of unders) await tellAndRead(under);
    });

    async function tellAndRead(under: SourceUnderTest): Promise<void> {
      const bench = createBench(under);
      const [answers, failures] = [await bench.newTopic(), await bench.newTopic()];
      const to = (topic: string) => ({
        topic: {
          messageQueueType: under.type,
          topic,
          metadata: under.metadata,
          ...(under.secret ? { secret: "broker" } : {}),
        },
      });
      const nowhere = {
        topic: {
          messageQueueType: "kafka" as const,
          topic: "lost",
          metadata: { bootstrapServers: "127.0.0.1:1" },
        },
      };
      const functions = functionWorld();
      const add = (
        key: string,
        invocation: NonNullable<Parameters<typeof functionObject>[1]>["invocation"],
      ) => functions.specs.set(key, functionObject(key, { invocation }));
      add("default/told", { onSuccess: to(answers), onFailure: to(failures) });
      add("default/lost", { onSuccess: nowhere });
      const log = processLog("test", { level: "error" });
      const redis = redisConnection({ url: redisUrl, log, name: "test" });
      await redis.ready(60_000);
      const publisher = openPublisher({
        redis,
        redisUrl,
        secrets: { "default/broker": under.secret ?? {} },
      });
      const deliver: Deliver = async (_target, event) =>
        textOf(event).startsWith("bad")
          ? { kind: "rejected", failure: { status: 422, reason: "function_error", message: "unfit" } }
          : done(`answer to ${textOf(event)}`, { "content-type": "text/plain" });
      const on = await startReplica(redisUrl, functions, deliver, { publish: () => publisher.publish });
      on.start();
      const call = async (name: string, text: string): Promise<string> => {
        const event = { id: "", namespace: "default", method: "POST", path: "/", headers: {} };
        const { id } = await on.accept({
          event: { ...event, body: Buffer.from(text) },
          target: { type: "name", name },
          source: "http",
        });
        return id;
      };
      const lost = await call("lost", "for nobody");
      const [good, bad] = [await call("told", "good"), await call("told", "bad")];
      const events = new Map<string, TriggerEvent>();
      for (const topic of [answers, failures])
        await bench.begin(
          (_target, event) => {
            events.set(topic, event);
            return Promise.resolve(done());
          },
          { topic },
        );
      try {
        await until("both have arrived", () => events.size === 2);
        expect(
          [answers, failures].map((topic) => events.get(topic)).map((one) => one && textOf(one)),
        ).toEqual(["answer to good", "bad"]);
        if (under.carriesHeaders) {
          expect(events.get(answers)?.headers).toMatchObject({
            "content-type": "text/plain",
            "ce-type": "dev.isotope.invocation.succeeded",
            "ce-invocationid": good,
          });
          expect(events.get(failures)?.headers).toMatchObject({
            "ce-type": "dev.isotope.invocation.failed",
            "ce-invocationid": bad,
            "ce-status": "422",
          });
        }
        await until("it is said where it went", async () => {
          const { destination } = (await on.journal.get(good)) ?? {};
          return destination?.to === `topic/${answers}` && destination.error === undefined;
        });
        await until("it is said what waits", async () => {
          const { destination } = (await on.journal.get(lost)) ?? {};
          return destination?.error?.startsWith("Not told yet: ") ?? false;
        });
      } finally {
        await on.end();
        await bench.closeAll();
        await publisher.close();
        await redis.close();
      }
    }
  });
}
