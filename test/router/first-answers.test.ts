import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sha256Hex, signer } from "../../net/sign.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../redis-server.ts";
import type { FakePod } from "./fake-pod.ts";
import { createWorld, keys, type World } from "./world.ts";

const sign = signer(keys, "router-internal");
const send = (
  url: string,
  path: string,
  key: string | undefined,
  { body = "", ttl = "60", signal }: { body?: string; ttl?: string; signal?: AbortSignal } = {},
) => {
  const target = `/fission-function/hello${path}`;
  return fetch(url + target, {
    method: "POST",
    body,
    headers: {
      ...(key === undefined ? {} : { "idempotency-key": key }),
      "x-isotope-first-answer": ttl,
      ...sign({ method: "POST", target, bodySha256: sha256Hex(body) }),
    },
    ...(signal ? { signal } : {}),
  });
};
const replayed = (reply: Response) => reply.headers.get("x-isotope-replayed");

describe.skipIf(!hasRedis)("the first answer to an idempotency key", () => {
  let redis: RedisServer;
  let world: World;
  let pod: FakePod;
  beforeAll(async () => {
    redis = await startRedisServer();
  });
  afterAll(() => redis.remove());
  beforeEach(async () => {
    world = await createWorld();
    pod = await world.pod();
    world.deploy();
  });
  afterEach(() => world.close());
  /** One that has its Redis: it serves all else before, so it does not wait for it. */
  const router = async (settings = {}) => {
    const made = await world.router({ redisUrl: redis.url, ...settings });
    // Only answers below 400 are recorded, so this one leaves nothing.
    const probe = () => send(made.internalUrl, "/status?code=404", "redis is there");
    await world.until(async () => (await probe()).status === 404, "the router's Redis");
    pod.started = 0;
    return made;
  };

  test("is given again, by every router, and the function runs once", async () => {
    const [one, other] = [await router(), await router()];
    const first = await send(one.internalUrl, "/echo", "run/1/0", { body: "a" });
    const text = await first.text();
    expect([first.status, replayed(first)]).toEqual([200, null]);
    for (const { internalUrl } of [one, other]) {
      const again = await send(internalUrl, "/echo", "run/1/0", { body: "a" });
      expect([again.status, replayed(again), await again.text()]).toEqual([200, "true", text]);
      expect(again.headers.get("content-type")).toBe(first.headers.get("content-type"));
      // One date, not the function's beside the router's.
      for (const { headers } of [first, again]) expect(headers.get("date")?.split("GMT")).toHaveLength(2);
    }
    expect(pod.started).toBe(1);
    expect(replayed(await send(one.internalUrl, "/echo", "run/2/0"))).toBeNull();
    expect(pod.started).toBe(2);
    expect(one.metrics()).toContain('isotope_router_first_answers_total{result="recorded"} 2');
  });

  test("is not a failure: that may be tried again under the same key", async () => {
    const { internalUrl } = await router();
    for (const code of [500, 404, 503]) {
      expect((await send(internalUrl, `/status?code=${code}`, `failed/${code}`)).status).toBe(code);
      expect((await send(internalUrl, "/echo", `failed/${code}`)).status).toBe(200);
      expect(replayed(await send(internalUrl, "/echo", `failed/${code}`))).toBe("true");
    }
    const broken = await send(internalUrl, "/half", "failed/half");
    expect(broken.status).toBe(502);
    expect((await send(internalUrl, "/echo", "failed/half")).status).toBe(200);
  });

  test("is kept for its time and within the limits of the router", async () => {
    const { internalUrl } = await router({ firstAnswerTtlMs: 5_000, firstAnswerBytes: 1_000 });
    const client = new Redis(redis.url);
    await client.flushall();
    await send(internalUrl, "/echo", "kept", { ttl: "3600" });
    const [key = ""] = await client.keys("isotope:answer:*");
    expect(await client.ttl(key)).toBeLessThanOrEqual(5);
    client.disconnect();
    for (let at = 0; at < 2; at++) {
      const large = await send(internalUrl, "/big?bytes=200000", "large");
      expect([replayed(large), (await large.arrayBuffer()).byteLength]).toEqual([null, 200_000]);
    }
  });

  test("serves those who ask meanwhile: one of them runs, and another when it leaves", async () => {
    const { internalUrl } = await router();
    const abort = new AbortController();
    const leaver = send(internalUrl, "/held", "held", { signal: abort.signal }).catch(() => "left");
    await world.until(() => pod.held.length === 1);
    const others = [1, 2, 3].map(() => send(internalUrl, "/held", "held"));
    await new Promise((wait) => setTimeout(wait, 50));
    expect(pod.started).toBe(1);
    abort.abort();
    expect(await leaver).toBe("left");
    await world.until(() => pod.held.length === 2);
    expect(pod.started).toBe(2);
    for (const answer of pod.held) answer();
    const replies = await Promise.all(others);
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(replies.filter((reply) => replayed(reply) === "true")).toHaveLength(2);
    expect(pod.started).toBe(2);
  });

  test("needs a key, a time and a Redis; without one nothing runs", async () => {
    const { internalUrl } = await router();
    expect((await send(internalUrl, "/echo", undefined)).status).toBe(400);
    expect((await send(internalUrl, "/echo", "k", { ttl: "soon" })).status).toBe(400);
    const bare = await world.router();
    const refused = await send(bare.internalUrl, "/echo", "k");
    expect([refused.status, await refused.json()]).toEqual([
      503,
      expect.objectContaining({ reason: "redis_unavailable" }),
    ]);
    expect(pod.started).toBe(0);
  });

  test("is given without a record when Redis dies while the function runs", async () => {
    const { internalUrl } = await router();
    const call = send(internalUrl, "/held", "dies");
    await world.until(() => pod.held.length === 1);
    await redis.stop("SIGKILL");
    for (const answer of pod.held) answer();
    expect((await call).status).toBe(200);
    expect((await send(internalUrl, "/echo", "dies")).status).toBe(503);
    await redis.start();
    await world.until(async () => (await send(internalUrl, "/echo", "after")).status === 200);
  });
});
