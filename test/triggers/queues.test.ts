import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createLeases } from "../../engine/triggers/queues/leases.ts";
import { createTopics } from "../../engine/triggers/queues/topics/topics.ts";
import { processLog } from "../../net/log.ts";
import { redisConnection } from "../../net/redis.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../redis-server.ts";

describe.skipIf(!hasRedis && process.env["CI"] !== "true")("queues in Redis", () => {
  let server: RedisServer;
  let connection: ReturnType<typeof redisConnection>;
  const redis = () => connection.client();
  beforeAll(async () => {
    server = await startRedisServer();
    connection = redisConnection({
      url: server.url,
      log: processLog("test", { level: "error" }),
      name: "test",
    });
    await connection.ready(60_000);
  });
  afterEach(() => redis().flushall());
  afterAll(async () => {
    await connection?.close();
    await server?.remove();
  });

  test("triggers are shared out evenly, each to one replica, and move when one leaves", async () => {
    const uids = Array.from({ length: 5 }, () => randomUUID());
    const [a, b] = ["a", "b"].map((name) => createLeases(redis, name, 60_000));
    if (!a || !b) throw new Error("unreachable");
    const places = new Map(uids.map((uid) => [uid, 1]));
    const heldBy = async (leases: typeof a) =>
      [...(await leases.share(places))].filter(([, holding]) => holding === "held").map(([uid]) => uid);
    expect((await heldBy(a)).length).toBe(5);
    expect(await heldBy(b)).toEqual([]);
    const surplus = [...(await a.share(places))].filter(([, holding]) => holding === "surplus");
    expect(surplus.length).toBe(2);
    for (const [uid] of surplus) await a.release(uid);
    const [mine, theirs] = [await heldBy(a), await heldBy(b)];
    expect([...mine, ...theirs].toSorted()).toEqual(uids.toSorted());
    expect(theirs.length).toBe(2);
    for (const uid of mine) await a.release(uid);
    await a.leave();
    expect((await heldBy(b)).length).toBe(5);
  });

  test("what cannot be divided goes to some, one more each, and nobody is left without", async () => {
    const places = new Map(Array.from({ length: 4 }, () => [randomUUID(), 1] as const));
    const replicas = ["a", "b", "c"].map((name) => createLeases(redis, name, 60_000));
    const round = async (): Promise<number[]> => {
      const held: number[] = [];
      for (const leases of replicas) {
        const holdings = [...(await leases.share(places))];
        for (const [uid, holding] of holdings) if (holding === "surplus") await leases.release(uid);
        held.push(holdings.filter(([, holding]) => holding === "held").length);
      }
      return held;
    };
    await round();
    await round();
    expect(await round()).toEqual([2, 1, 1]);
  });

  test("a lease that ran out goes to another; one that is another's is not let go of", async () => {
    // Long enough for what is asked before they run out.
    const a = createLeases(redis, "a", 5_000);
    const b = createLeases(redis, "b", 10_000);
    expect((await a.share(new Map([["x", 1]]))).get("x")).toBe("held");
    await b.release("x");
    expect((await b.share(new Map([["x", 1]]))).get("x")).toBe("not-held");
    await expect
      .poll(async () => (await b.share(new Map([["x", 1]]))).get("x"), { timeout: 60_000 })
      .toBe("held");
    expect((await a.share(new Map([["x", 1]]))).get("x")).toBe("not-held");
  });

  test("several replicas take part in one trigger, each once, and one of them speaks for it as long as any is there", async () => {
    const [a, b, c] = ["a", "b", "c"].map((name) => createLeases(redis, name, 60_000));
    if (!a || !b || !c) throw new Error("unreachable");
    const places = new Map([
      ["wide", 2],
      ["narrow", 1],
    ]);
    const of = async (leases: typeof a) => (await leases.share(places)).get("wide");
    expect(await of(a)).toBe("held");
    expect(await of(b)).toBe("member");
    expect(await of(c)).toBe("not-held");
    await a.release("narrow");
    await a.release("wide");
    await a.leave();
    expect(await of(b)).toBe("held");
    expect(await of(c)).toBe("member");
    expect(await b.isFree("wide")).toBe(false);
    for (const leases of [b, c]) await leases.release("wide");
    expect(await b.isFree("wide")).toBe(true);
  });

  const message = (text: string) => ({ topic: "orders", headers: {}, body: Buffer.from(text) });

  test("a topic shows its newest messages, and those after one", async () => {
    const topics = createTopics(redis);
    const ids = [];
    for (const text of ["a", "b", "c"]) ids.push(await topics.append("default", message(text)));
    const texts = async (options: { limit: number; after?: string }) =>
      (await topics.read("default", "orders", options)).map(({ body }) => body.toString());
    expect(await texts({ limit: 2 })).toEqual(["c", "b"]);
    expect(await texts({ limit: 10, after: ids[0] ?? "" })).toEqual(["b", "c"]);
    expect((await topics.read("other", "orders", { limit: 10 })).length).toBe(0);
  });

  test("a full topic drops what all groups have dealt with, and refuses rather than drop anything else", async () => {
    const topics = createTopics(redis, 20);
    const [key] = [
      (await import("../../engine/triggers/queues/topics/topic-key.ts")).topicKey("default", "orders"),
    ];
    await redis().xgroup("CREATE", key, "slow", "0", "MKSTREAM");
    for (let count = 0; count < 20; count++) await topics.append("default", message(String(count)));
    await expect(topics.append("default", message("too much"))).rejects.toMatchObject({ code: "queue_full" });
    const first = await topics.read("default", "orders", { limit: 100, after: "0-0" });
    expect(first.map(({ body }) => body.toString())).toEqual(
      Array.from({ length: 20 }, (_, at) => String(at)),
    );
    // Read, but only the first is acknowledged: nothing behind it may go.
    await redis().xreadgroup("GROUP", "slow", "c", "COUNT", 5, "STREAMS", key, ">");
    await redis().xack(key, "slow", first[0]?.id ?? "");
    await topics.append("default", message("20"));
    const left = (await topics.read("default", "orders", { limit: 100, after: "0-0" })).map(({ body }) =>
      body.toString(),
    );
    expect(left).toEqual(Array.from({ length: 20 }, (_, at) => String(at + 1)));
  });
});
