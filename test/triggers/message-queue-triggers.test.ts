import { once } from "node:events";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MessageQueueTrigger } from "../../api/kinds/index.ts";
import type { Deliver } from "../../engine/triggers/delivery/event.ts";
import type { Part } from "../../engine/triggers/part.ts";
import { queuesPart } from "../../engine/triggers/queues/queues-part.ts";
import { topicKey } from "../../engine/triggers/queues/topics/topic-key.ts";
import { triggerMetrics } from "../../engine/triggers/trigger-metrics.ts";
import { createTopics } from "../../engine/triggers/queues/topics/topics.ts";
import { findCondition } from "../../kube/conditions.ts";
import { type FunctionWorld, watchFunctionWorld } from "../../kube/function-world.ts";
import { FUNCTIONS, MESSAGE_QUEUE_TRIGGERS } from "../../kube/kinds.ts";
import { SECRETS } from "../../kube/core.ts";
import { processLog } from "../../net/log.ts";
import { metricsRegistry } from "../../net/metrics.ts";
import { redisConnection } from "../../net/redis.ts";
import { fn } from "../controller/objects.ts";
import { type KubeServer, startKube } from "../controller/platform.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../redis-server.ts";
import { natsObstacle, startNats } from "./brokers/nats.ts";
import { until } from "../until.ts";

type Spec = MessageQueueTrigger["spec"];

describe.skipIf(!hasRedis && process.env["CI"] !== "true")(
  "MessageQueueTriggers",
  { timeout: 300_000 },
  () => {
    let kube: KubeServer;
    let server: RedisServer;
    let functions: FunctionWorld;
    let connection: ReturnType<typeof redisConnection>;
    const log = processLog("test", { level: "error" });
    const delivered: { by: string; trigger: string; text: string; id: string }[] = [];
    const parts = new Map<string, Part>();
    const registry = metricsRegistry();
    const metrics = triggerMetrics(registry);
    /** Deliveries of messages that begin with "slow" wait for it. */
    let gate = Promise.withResolvers<void>();
    let waiting = 0;

    const begin = (name: string): void => {
      const deliver: Deliver = async (target, event, { signal }) => {
        const text = Buffer.from(event.body).toString("utf8");
        if (text.startsWith("slow")) {
          waiting++;
          await Promise.race([gate.promise, once(signal, "abort")]);
          waiting--;
          signal.throwIfAborted();
        }
        if (text.startsWith("bad"))
          return { kind: "rejected", failure: { status: 422, reason: "function_error", message: "bad" } };
        delivered.push({ by: name, trigger: target.name, text, id: event.id });
        return { kind: "done", status: 200, headers: {}, body: Buffer.from(`${text}!`) };
      };
      const bury = () => Promise.reject(new Error("Nothing is to be buried here"));
      const deps = {
        client: kube.client,
        log,
        name,
        redis: connection,
        redisUrl: server.url,
        functions,
        deliver,
        bury,
        metrics,
      };
      // Leases that no busy machine lets run out: then another replica would take what is under way.
      parts.set(name, queuesPart(deps, { leaseMs: 15_000, roundMs: 100, lookMs: 500 }));
    };
    beforeAll(async () => {
      [kube, server] = await Promise.all([startKube(), startRedisServer("always")]);
      connection = redisConnection({ url: server.url, log, name: "test" });
      await connection.ready(60_000);
      functions = watchFunctionWorld(kube.client, () => undefined);
      functions.start();
      await functions.synced;
      await kube.client.create(FUNCTIONS, fn("hello"));
      await until("the function is known", () => functions.function("default", "hello") !== undefined);
      begin("a");
      begin("b");
    });
    afterAll(async () => {
      await Promise.all([...parts.values()].map((part) => part.stop(1_000)));
      await functions?.stop();
      await connection?.close();
      await Promise.all([kube?.stop(), server?.remove()]);
    });

    const create = (name: string, spec: Partial<Spec> = {}) =>
      kube.client.create(MESSAGE_QUEUE_TRIGGERS, {
        apiVersion: "fission.io/v1",
        kind: "MessageQueueTrigger",
        metadata: { namespace: "default", name },
        spec: {
          functionref: { type: "name", name: "hello" },
          messageQueueType: "redis-streams",
          topic: name,
          metadata: { start: "earliest" },
          ...spec,
        },
      });
    const statusOf = async (name: string) =>
      (await kube.client.find(MESSAGE_QUEUE_TRIGGERS, { namespace: "default", name }))?.status;
    const readyOf = async (name: string) => findCondition((await statusOf(name))?.conditions, "Ready");
    const publish = (topic: string, text: string) =>
      createTopics(() => connection.client()).append("default", {
        topic,
        headers: {},
        body: Buffer.from(text),
      });
    const has = (text: string) => delivered.some((one) => one.text === text);

    test("replicas share the triggers; each message is delivered once, the answer goes on, the status tells", async () => {
      const names = ["one", "two", "three", "four"];
      for (const name of names) await create(name, { respTopic: `${name}-answers` });
      for (const name of names)
        await until(`${name} is connected`, async () => (await readyOf(name))?.status === "True");
      for (const name of names) await publish(name, `to ${name}`);
      await until("all are delivered", () => names.every((name) => has(`to ${name}`)));
      expect(delivered.length).toBe(names.length);
      const status = async () => statusOf("one");
      await until("it is in the status", async () => (await status())?.delivered === 1, 60_000);
      expect(await status()).toMatchObject({ connected: true, delivered: 1, deadLettered: 0, lag: 0 });
      const topics = createTopics(() => connection.client());
      const [answer] = await topics.read("default", "one-answers", { limit: 1 });
      expect(answer?.body.toString()).toBe("to one!");
    });

    test("when a replica leaves, the other takes all of its triggers", async () => {
      await parts.get("a")?.stop(1_000);
      parts.delete("a");
      const names = ["one", "two", "three", "four"];
      for (const name of names) await publish(name, `again to ${name}`);
      await until("all are delivered", () => names.every((name) => has(`again to ${name}`)));
      const late = delivered.filter(({ text }) => text.startsWith("again"));
      expect(new Set(late.map(({ by }) => by))).toEqual(new Set(["b"]));
    });

    test("what is wrong is named in the conditions, until it is put right", async () => {
      await create("stan", { messageQueueType: "stan" });
      await create("typo", { metadata: { starts: "earliest" } });
      await create("nobody", { functionref: { type: "name", name: "nobody" } });
      await create("hidden", { secret: "none" });
      const expected = {
        stan: ["UnsupportedMessageQueueType", "nats-jetstream"],
        typo: ["InvalidMetadata", 'unknown "starts"'],
        nobody: ["FunctionNotFound", '"nobody"'],
        hidden: ["CannotStart", 'Secret "none"'],
      };
      for (const [name, [reason, words]] of Object.entries(expected)) {
        await until(`${name} is refused`, async () => (await readyOf(name))?.reason === reason);
        expect((await readyOf(name))?.status).toBe("False");
        expect((await readyOf(name))?.message).toContain(words);
      }
      await publish("nobody", "for nobody yet");
      await kube.client.create(FUNCTIONS, fn("nobody"));
      await until("it is delivered", () => has("for nobody yet"));
    });

    const groupsOf = async (topic: string): Promise<string> =>
      JSON.stringify(await connection.client().xinfo("GROUPS", topicKey("default", topic)));

    test("a deleted trigger takes no more messages, and its group is forgotten", async () => {
      await kube.client.delete(MESSAGE_QUEUE_TRIGGERS, { namespace: "default", name: "one" });
      await until("the group is gone", async () => (await groupsOf("one")) === "[]");
    });

    test("neither a trigger that nobody consumes when it is deleted nor a topic that is left keeps its group", async () => {
      await kube.client.create(FUNCTIONS, fn("brief"));
      await create("brief", { functionref: { type: "name", name: "brief" } });
      await until("it is connected", async () => (await readyOf("brief"))?.status === "True");
      await kube.client.delete(FUNCTIONS, { namespace: "default", name: "brief" });
      await until("it is idle", async () => (await readyOf("brief"))?.reason === "FunctionNotFound");
      expect(await groupsOf("brief")).not.toBe("[]");
      await kube.client.delete(MESSAGE_QUEUE_TRIGGERS, { namespace: "default", name: "brief" });
      await until("the group is gone", async () => (await groupsOf("brief")) === "[]");

      const two = { namespace: "default", name: "two" };
      await kube.client.patch(MESSAGE_QUEUE_TRIGGERS, two, { spec: { topic: "two-b", metadata: null } });
      // What comes from when the change is seen is its own.
      await until(
        "the change is seen",
        async () => (await readyOf("two"))?.message.includes('"two-b"') ?? false,
      );
      await publish("two-b", "after the change");
      await until("it is delivered", () => has("after the change"));
      await until("the old group is gone", async () => (await groupsOf("two")) === "[]");
      expect(await groupsOf("two-b")).not.toBe("[]");
    });

    test("what is published once a trigger exists is its own, also before anybody consumes it", async () => {
      await publish("late", "before the trigger");
      // Ids of messages and times of creation are compared by the second.
      const second = Math.floor(Date.now() / 1_000);
      await until("the second is over", () => Math.floor(Date.now() / 1_000) > second);
      await create("late", { functionref: { type: "name", name: "comes-later" }, metadata: {} });
      await publish("late", "after the trigger");
      await until("it is idle", async () => (await readyOf("late"))?.reason === "FunctionNotFound");
      await kube.client.create(FUNCTIONS, fn("comes-later"));
      await until("it is delivered", () => has("after the trigger"));
      expect(has("before the trigger")).toBe(false);
    });

    test("a slow function and a broker that nobody finds hold up nobody else; numbers are told of each", async () => {
      await create("slow", { concurrency: 2 });
      await create("lost", { messageQueueType: "kafka", metadata: { bootstrapServers: "127.0.0.1:1" } });
      for (const number of [1, 2, 3, 4]) await publish("slow", `slow ${number}`);
      await until("it is slow", () => waiting === 2);
      await until("it is lost", async () => (await readyOf("lost"))?.reason === "NotConnected");
      expect((await readyOf("lost"))?.message).toMatch(/127\.0\.0\.1:1|ECONNREFUSED|Connection error/);
      await publish("three", "past the others");
      await until("it is delivered", () => has("past the others"));
      const number = (name: string, labels: string): number =>
        Number(
          registry
            .text()
            .split("\n")
            .find((line) => line.startsWith(`isotope_triggers_${name}{${labels}`))
            ?.split(" ")
            .at(-1),
        );
      await until("the lag is told", async () => (await statusOf("slow"))?.lag === 4);
      expect(number("source_lag", 'namespace="default",trigger="slow",type="redis-streams"')).toBe(4);
      expect(number("source_connected", 'namespace="default",trigger="slow"')).toBe(1);
      expect(number("source_connected", 'namespace="default",trigger="lost"')).toBe(0);
      gate.resolve();
      await until("all are delivered", () => [1, 2, 3, 4].every((n) => has(`slow ${n}`)));
      const outcome = 'namespace="default",trigger="slow",type="redis-streams",outcome="delivered"';
      // The lag is looked up after the numbers: it may be gone a round before they are all counted.
      await until(
        "the lag is gone and all are counted",
        async () => (await statusOf("slow"))?.lag === 0 && number("source_messages_total", outcome) === 4,
      );
      gate = Promise.withResolvers();
    });

    test("a broker of its own: a Secret that is put right lets it in, and the status tells when it is away and back", async () => {
      const broker = await startRedisServer("always");
      try {
        const own = async (act: (client: Redis) => Promise<unknown>): Promise<void> => {
          const client = new Redis(broker.url, { password: "right", lazyConnect: true });
          client.on("error", () => undefined);
          await act(client).finally(() => client.disconnect());
        };
        const send = (text: string) => own((client) => client.xadd("own", "*", "body", text));
        const open = new Redis(broker.url);
        await open.config("SET", "requirepass", "right");
        open.disconnect();
        const secret = (password: string) => ({
          apiVersion: "v1",
          kind: "Secret",
          metadata: { namespace: "default", name: "broker" },
          data: { password: Buffer.from(password).toString("base64") },
        });
        await kube.client.create(SECRETS, secret("wrong"));
        await create("own", { secret: "broker", metadata: { address: broker.url, start: "earliest" } });
        await until("it is refused", async () => {
          const ready = await readyOf("own");
          return ready?.reason === "NotConnected" && ready.message.includes("WRONGPASS");
        });
        await kube.client.patch(
          SECRETS,
          { namespace: "default", name: "broker" },
          { data: secret("right").data },
        );
        await until("it is connected", async () => (await readyOf("own"))?.status === "True");
        await send("to its own");
        await until("it is delivered", () => has("to its own"));

        await broker.stop("SIGKILL");
        await until("the loss is told", async () => (await statusOf("own"))?.connected === false);
        expect((await readyOf("own"))?.message).toContain("tried again");
        await publish("three", "while another's broker is away");
        await until("it is delivered", () => has("while another's broker is away"));
        await broker.start();
        const again = new Redis(broker.url);
        await again.config("SET", "requirepass", "right");
        again.disconnect();
        await until("it is connected again", async () => (await readyOf("own"))?.status === "True");
        await send("after the loss");
        await until("it is delivered", () => has("after the loss"));
      } finally {
        await broker.remove();
      }
    });

    test("the connection of a trigger that asks for it is let go of while nothing comes, and found again", async () => {
      await create("rests", { minReplicaCount: 0, cooldownPeriod: 1, pollingInterval: 1 });
      const connections = async (): Promise<number> =>
        String(await connection.client().client("LIST")).split("default/rests").length - 1;
      for (const text of ["before the rest", "after the rest"]) {
        await publish("rests", text);
        await until(`${text}: it is delivered`, () => has(text));
        // All of it at once: the status of the rest before may still be there when the message is delivered.
        await until(`${text}: it rests, and no connection is left`, async () => {
          const left = await connections();
          const status = await statusOf("rests");
          const { reason } = findCondition(status?.conditions, "Ready") ?? {};
          return left === 0 && reason === "Resting" && status?.connected === false && status.lag === 0;
        });
      }
    });

    test.skipIf(natsObstacle() !== undefined)(
      "replicas take part in one trigger side by side where the source allows it, and one goes on alone",
      async () => {
        const nats = await startNats();
        const client = await connect({ servers: nats.address });
        try {
          await (await jetstreamManager(client)).streams.add({ name: "wide", subjects: ["wide"] });
          begin("c");
          const metadata = { servers: nats.address, deliverPolicy: "all", maxAckPending: "8" };
          await create("wide", { messageQueueType: "nats-jetstream", maxReplicaCount: 2, metadata });
          const by = () =>
            new Set(delivered.filter(({ text }) => text.startsWith("wide")).map((one) => one.by));
          let sent = 0;
          const send = () => jetstream(client).publish("wide", `wide ${sent++}`);
          await until("both take part", async () => {
            await send();
            return by().size === 2;
          });
          expect(by()).toEqual(new Set(["b", "c"]));
          await parts.get("c")?.stop(1_000);
          parts.delete("c");
          for (let more = 0; more < 10; more++) await send();
          await until("all are delivered", () =>
            Array.from({ length: sent }, (_, at) => `wide ${at}`).every(has),
          );
          await until("the one that is left speaks", async () => (await statusOf("wide"))?.lag === 0);
          await kube.client.delete(MESSAGE_QUEUE_TRIGGERS, { namespace: "default", name: "wide" });
        } finally {
          await client.close();
          await nats.remove();
        }
      },
    );

    test("the platform's Redis away in mid-delivery: nothing is lost, repetitions keep their ids, the status tells", async () => {
      const texts = Array.from({ length: 12 }, (_, at) => `slow outage ${at}`);
      for (const text of texts) await publish("four", text);
      await until("some are under way", () => waiting > 0);
      await server.stop("SIGKILL");
      await until("it is told", async () => (await readyOf("four"))?.reason === "RedisUnavailable");
      expect(await statusOf("four")).toMatchObject({ connected: false });
      await server.start();
      gate.resolve();
      await until("it is connected again", async () => (await readyOf("four"))?.status === "True");
      await until("all are delivered", () => texts.every(has));
      const repeated = new Map<string, Set<string>>();
      for (const { text, id } of delivered.filter(({ text }) => text.startsWith("slow outage")))
        repeated.set(text, (repeated.get(text) ?? new Set()).add(id));
      expect([...repeated.values()].every((ids) => ids.size === 1)).toBe(true);
      expect(delivered.filter(({ text }) => text.startsWith("slow outage")).length).toBeLessThanOrEqual(24);
    });

    test("a platform without Redis says so, and one without workflows", async () => {
      await create("runs", { functionref: { type: "workflow", name: "billing" } });
      await Promise.all([...parts.values()].map((part) => part.stop(1_000)));
      parts.clear();
      const none = redisConnection({ url: undefined, log, name: "none" });
      const part = queuesPart(
        {
          client: kube.client,
          log,
          name: "none",
          redis: none,
          redisUrl: undefined,
          functions,
          withoutWorkflows: true,
          deliver: () => Promise.reject(new Error("Nothing is to be delivered here")),
          bury: () => Promise.reject(new Error("Nothing is to be buried here")),
          metrics,
        },
        { roundMs: 100, lookMs: 500 },
      );
      parts.set("none", part);
      await until("it is told", async () => (await readyOf("three"))?.reason === "NoRedis");
      expect(await statusOf("three")).toMatchObject({ connected: false });
      // What is wrong with a trigger itself comes first.
      expect((await readyOf("stan"))?.reason).toBe("UnsupportedMessageQueueType");
      await until(
        "it is told of workflows",
        async () => (await readyOf("runs"))?.reason === "WorkflowsNotInstalled",
      );
      expect(await readyOf("runs")).toMatchObject({
        status: "False",
        message: expect.stringContaining('runs of workflow "billing": workflows are not installed'),
      });
    });
  },
);
