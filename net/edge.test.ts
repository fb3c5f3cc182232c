import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { PlatformError } from "../api/errors.ts";
import { startRedisServer } from "../test/redis-server.ts";
import { drain } from "./drain.ts";
import { errorReply } from "./error-reply.ts";
import { keyRingFromFile } from "./keys.ts";
import { processLog } from "./log.ts";
import { redisConnection } from "./redis.ts";

const silent = processLog("test", { write: () => undefined });

describe("error replies", () => {
  test("a caller's fault shows its message, a platform's only with debug", () => {
    const caller = errorReply(new PlatformError("body_too_large", "Body of 9 bytes, allowed 8"), {
      requestId: "r1",
    });
    expect(caller).toMatchObject({
      status: 413,
      headers: { "x-fission-component": "router", "x-fission-request-id": "r1" },
      body: { reason: "body_too_large", requestId: "r1", message: "Body of 9 bytes, allowed 8" },
    });
    expect(caller.headers["retry-after"]).toBeUndefined();
    const platform = new PlatformError("queue_timeout", "10.0.0.3 is slow", { retryAfterMs: 1_200 });
    expect(errorReply(platform).body.message).not.toContain("10.0.0.3");
    expect(errorReply(platform, { debug: true }).body.message).toBe("10.0.0.3 is slow");
    expect(errorReply(platform).headers["retry-after"]).toBe("2");
  });
  test("what is not of the table is internal, 503 with Retry-After", () => {
    expect(errorReply(new TypeError("boom"))).toMatchObject({
      status: 503,
      headers: { "retry-after": "1" },
      body: { reason: "internal" },
    });
  });
});

describe("log", () => {
  test("lines are JSON with fields, errors and levels", () => {
    const lines: string[] = [];
    const log = processLog("router", {
      write: (line) => lines.push(line),
      now: () => new Date(0),
      level: "info",
    }).with({ a: 1 });
    log.debug("unseen");
    const circular: Record<string, unknown> = {};
    circular["self"] = circular;
    log.error("it broke", {
      error: new PlatformError("internal", "x", { cause: new Error("root") }),
      big: 1n,
    });
    log.warn("odd", { circular });
    expect(lines.map((line): unknown => JSON.parse(line))).toMatchObject([
      {
        time: "1970-01-01T00:00:00.000Z",
        level: "error",
        component: "router",
        a: 1,
        message: "it broke",
        big: "1",
        error: { code: "internal", cause: "root" },
      },
      { level: "warn", message: "odd", fields: "circular" },
    ]);
  });
});

describe("drain", () => {
  test("steps run in order, a failing one does not stop the rest", async () => {
    const order: string[] = [];
    const step = (name: string, fails = false) => ({
      name,
      stop: () => {
        order.push(name);
        if (fails) throw new Error("x");
      },
    });
    expect(
      await drain({ steps: [step("a"), step("b", true), step("c")], deadlineMs: 1000, log: silent }),
    ).toBe(1);
    expect(order).toEqual(["a", "b", "c"]);
    expect(await drain({ steps: [step("a")], deadlineMs: 1000, log: silent })).toBe(0);
  });
  test("a step that never ends meets the deadline", async () => {
    const steps = [{ name: "stuck", stop: () => new Promise<void>(() => undefined) }];
    expect(await drain({ steps, deadlineMs: 20, log: silent })).toBe(1);
  });
});

describe("key file", () => {
  test("a rotation is read, a broken write keeps the old keys", () => {
    const dir = mkdtempSync(join(tmpdir(), "isotope-keys-"));
    try {
      const path = join(dir, "internal.key");
      const [a, b] = ["a".repeat(40), "b".repeat(40)];
      writeFileSync(path, `${a}\n`);
      let now = 0;
      const ring = keyRingFromFile(path, 10, () => now);
      const held = () => ring.masters().map((key) => key.toString());
      writeFileSync(path, "short\n");
      now = 20;
      expect(held()).toEqual([a]);
      writeFileSync(path, `# comment\n${b}\n${a}\n`);
      now = 40;
      expect(held()).toEqual([b, a]);
      expect(() => keyRingFromFile(join(dir, "none"))).toThrow(/ENOENT/);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

describe("redis", () => {
  const stops: (() => Promise<unknown> | void)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0).toReversed()) await stop();
  });

  test("absence is a state and a 503", async () => {
    const redis = redisConnection({ url: "", log: silent, name: "test" });
    expect(redis.state()).toBe("absent");
    expect(() => redis.client()).toThrow(expect.objectContaining({ code: "redis_unavailable", status: 503 }));
    await expect(redis.ready(10)).rejects.toMatchObject({ code: "redis_unavailable" });
    await redis.close();
  });

  test("a server that comes, goes and comes back", async () => {
    const server = await startRedisServer();
    stops.push(() => server.remove());
    await server.stop();
    const redis = redisConnection({
      url: server.url,
      log: silent,
      name: "test",
      maxRetryDelayMs: 50,
    });
    stops.push(() => redis.close());
    await expect(redis.ready(30)).rejects.toMatchObject({ code: "redis_unavailable" });
    await server.start();
    const client = await redis.ready(60_000);
    expect(await client.ping()).toBe("PONG");
    await server.stop("SIGKILL");
    await expect.poll(() => redis.state()).not.toBe("ready");
    expect(() => redis.client()).toThrow(expect.objectContaining({ code: "redis_unavailable" }));
    await server.start();
    expect(await (await redis.ready(60_000)).ping()).toBe("PONG");
  });
});
