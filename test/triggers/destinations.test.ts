import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Deliver } from "../../engine/triggers/delivery/event.ts";
import type { TopicDestination } from "../../engine/triggers/invocations/journal.ts";
import type { TopicPublisher } from "../../engine/triggers/queues/topics/topic-publisher.ts";
import { createTopics } from "../../engine/triggers/queues/topics/topics.ts";
import { processLog } from "../../net/log.ts";
import { type RedisConnection, redisConnection } from "../../net/redis.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../redis-server.ts";
import {
  type Functions,
  functionObject,
  functionWorld,
  type Replica,
  startReplica,
} from "./invocations/replica.ts";
import { type QueuesService, startQueuesService } from "./queues-service.ts";
import { until } from "../until.ts";
import { openPublisher } from "./topic-publishing.ts";

const deliver: Deliver = (_target, event) =>
  Promise.resolve({
    kind: "done",
    status: 200,
    headers: { "content-type": "text/plain", "ce-type": "answered" },
    body: Buffer.from(`${Buffer.from(event.body).toString()}!`),
  });

/** Two servers: the platform's, and one of somebody's own. */
describe.skipIf(!hasRedis && process.env["CI"] !== "true")("destinations", { timeout: 300_000 }, () => {
  let platform: RedisServer;
  let server: RedisServer;
  let connection: RedisConnection;
  let functions: Functions;
  let on: Replica | undefined;
  let publisher: TopicPublisher;
  let service: QueuesService | undefined;
  const secrets: Record<string, Record<string, string>> = {};
  const log = processLog("test", { level: "error" });
  beforeAll(async () => {
    [platform, server] = await Promise.all([startRedisServer("always"), startRedisServer("always")]);
    connection = redisConnection({ url: platform.url, log, name: "test" });
    await connection.ready(60_000);
    functions = functionWorld();
  }, 180_000);
  afterEach(async () => {
    await service?.stop();
    await on?.end();
    await publisher?.close();
    [service, on] = [undefined, undefined];
  });
  afterAll(async () => {
    await connection?.close();
    await Promise.all([platform?.remove(), server?.remove()]);
  });

  const begin = async (idleMs?: number): Promise<Replica> => {
    publisher = openPublisher({
      redis: connection,
      redisUrl: platform.url,
      secrets,
      ...(idleMs === undefined ? {} : { idleMs }),
    });
    on = await startReplica(platform.url, functions, deliver, { publish: () => publisher.publish });
    on.start();
    return on;
  };
  const add = (name: string, topic: TopicDestination): void => {
    const invocation = { onSuccess: { topic } } as NonNullable<
      Parameters<typeof functionObject>[1]
    >["invocation"];
    functions.specs.set(`default/${name}`, functionObject(`default/${name}`, { invocation }));
  };
  const call = async (replica: Replica, name: string, text: string): Promise<string> => {
    const event = { id: "", namespace: "default", method: "POST", path: "/", headers: {} };
    const { id } = await replica.accept({
      event: { ...event, body: Buffer.from(text) },
      target: { type: "name", name },
      source: "http",
    });
    return id;
  };
  const destinationOf = async (replica: Replica, id: string) => (await replica.journal.get(id))?.destination;
  const isTold = async (replica: Replica, id: string, topic: string): Promise<boolean> => {
    const destination = await destinationOf(replica, id);
    return destination?.to === `topic/${topic}` && destination.error === undefined;
  };
  const ownTopic = (topic: string, more: Partial<TopicDestination> = {}): TopicDestination => ({
    messageQueueType: "redis-streams",
    topic,
    metadata: { address: server.url },
    ...more,
  });
  const own = async <T>(act: (client: Redis) => Promise<T>, password?: string): Promise<T> => {
    const client = new Redis(server.url, password === undefined ? {} : { password });
    client.on("error", () => undefined);
    try {
      return await act(client);
    } finally {
      client.disconnect();
    }
  };
  const textsOf = (topic: string, password?: string): Promise<string[]> =>
    own(async (client) => {
      const entries = await client.xrange(topic, "-", "+");
      return entries.map(([, fields]) => fields[fields.indexOf("body") + 1] ?? "");
    }, password);

  test("a broker that is away keeps its messages waiting, and no others; all of them come once it is back", async () => {
    const replica = await begin();
    add("own", ownTopic("own"));
    add("built-in", { messageQueueType: "statestore", topic: "built-in" });
    const first = await call(replica, "own", "before");
    await until("it is told", async () => (await destinationOf(replica, first))?.to === "topic/own");
    await server.stop("SIGKILL");
    const waiting: string[] = [];
    for (let count = 0; count < 300; count++) waiting.push(await call(replica, "own", `away ${count}`));
    await until("it is said that it waits", async () =>
      Boolean((await destinationOf(replica, waiting[0] ?? ""))?.error?.startsWith("Not told yet: ")),
    );
    const other = await call(replica, "built-in", "past them");
    await until("another is told meanwhile", () => isTold(replica, other, "built-in"));
    await server.start();
    await until("all are there", async () => {
      const texts = new Set(await textsOf("own"));
      return texts.has("before!") && waiting.every((_, count) => texts.has(`away ${count}!`));
    });
    await until("each says that it is told, and none any more that it waits", async () => {
      for (const id of waiting) if (!(await isTold(replica, id, "own"))) return false;
      return true;
    });
  });

  test("credentials come from a Secret of the function's own namespace, as it is when there is something to send", async () => {
    const replica = await begin();
    add("locked", ownTopic("locked", { secret: "broker" }));
    await own((client) => client.config("SET", "requirepass", "right"));
    secrets["other/broker"] = { password: "right" };
    const id = await call(replica, "locked", "secret");
    const untilSaid = (words: string) =>
      until(`it is said: ${words}`, async () =>
        Boolean((await destinationOf(replica, id))?.error?.includes(words)),
      );
    await untilSaid('Secret "broker" not found');
    secrets["default/broker"] = { password: "wrong" };
    await untilSaid("WRONGPASS");
    secrets["default/broker"] = { password: "right" };
    await until("it is there", async () => (await textsOf("locked", "right")).includes("secret!"));
    // Else it would be told again later, by whoever keeps house then.
    await until("it is said that it is told", () => isTold(replica, id, "locked"));
    await own((client) => client.config("SET", "requirepass", ""), "right");
  });

  test("what is written wrongly is said, by its field, and not tried again", async () => {
    const replica = await begin();
    add("typo", ownTopic("typo", { metadata: { adress: server.url } }));
    add("kafka", { messageQueueType: "kafka", topic: "lost" });
    const ids = [await call(replica, "typo", "a"), await call(replica, "kafka", "b")];
    const errors: string[] = [];
    for (const id of ids)
      await until("it is said", async () => {
        const error = (await destinationOf(replica, id))?.error;
        if (error !== undefined) errors.push(error);
        return error !== undefined;
      });
    expect(errors[0]).toMatch(
      /^Cannot send to topic "typo": metadata has unknown "adress": allowed are address/,
    );
    expect(errors[1]).toMatch(/metadata "bootstrapServers" is required: host:port/);
    expect(await replica.journal.untold(0)).toEqual([]);
  });

  test("connections are let go of while there is nothing to send", async () => {
    const replica = await begin(400);
    add("idle", ownTopic("idle"));
    const connections = () =>
      own(async (client) => String(await client.client("LIST")).split("isotope producer").length - 1);
    for (const text of ["first", "second"]) {
      await call(replica, "idle", text);
      await until(`${text} is there`, async () => (await textsOf("idle")).includes(`${text}!`));
      await until("nothing is held", () => publisher.size === 0);
      await until("the connection is gone", async () => (await connections()) === 0);
    }
  });

  test("a dead letter of a trigger that is redriven answers to the response topic, with key and headers of its message", async () => {
    const replica = await begin();
    functions.specs.set("default/hello", functionObject("default/hello"));
    service = await startQueuesService({
      redisUrl: platform.url,
      replicas: ["a"],
      work: () => Promise.resolve(),
      refuses: () => true,
      bury: replica.bury,
    });
    const settings = { messageQueueType: "redis-streams", respTopic: "in-answers" };
    await service.create("in", { ...settings, topic: "in", metadata: { start: "earliest" } });
    const topics = createTopics(() => connection.client());
    await topics.append("default", {
      topic: "in",
      key: "k1",
      headers: { "x-colour": "blue", "ce-id": "not the answer's" },
      body: Buffer.from("bad"),
    });
    const dead = async () =>
      (await replica.journal.list({ status: "dead", source: "mqt/in", limit: 10 })).items;
    await until("it is buried", async () => (await dead()).length > 0);
    const items = await dead();
    expect(await topics.read("default", "in-answers", { limit: 10 })).toEqual([]);
    await replica.journal.redrive(items.map(({ id }) => id));
    await until("the answer is there", async () => {
      const [answer] = await topics.read("default", "in-answers", { limit: 10 });
      return answer !== undefined;
    });
    const [answer] = await topics.read("default", "in-answers", { limit: 10 });
    expect(answer).toMatchObject({
      key: "k1",
      headers: { "x-colour": "blue", "content-type": "text/plain" },
    });
    expect(answer?.headers["ce-type"]).toBe("answered");
    expect(answer?.headers["ce-id"]).toBeUndefined();
    expect(answer?.body.toString()).toBe("bad!");
  });
});
