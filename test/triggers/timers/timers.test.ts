import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Redis } from "ioredis";
import type { TimeTrigger } from "../../../api/kinds/index.ts";
import type { Part } from "../../../engine/triggers/part.ts";
import { startTimers, type TimerDeps } from "../../../engine/triggers/timers/start-timers.ts";
import { triggerMetrics } from "../../../engine/triggers/trigger-metrics.ts";
import { TIME_TRIGGERS } from "../../../kube/kinds.ts";
import { processLog } from "../../../net/log.ts";
import { metricsRegistry } from "../../../net/metrics.ts";
import { redisConnection } from "../../../net/redis.ts";
import { type KubeServer, startKube } from "../../controller/platform.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../../redis-server.ts";
import { type Recorded, recordedCalls, type RecordedCalls } from "./recorded-calls.ts";
import { eventually } from "../../eventually.ts";

const log = processLog("triggers", { level: "error", write: (line) => process.stderr.write(line) });

// Generous where it waits: what is tested is what happens, not how fast on a busy machine.
describe.skipIf(!hasRedis)("timers", { timeout: 300_000 }, () => {
  let kube: KubeServer;
  let server: RedisServer;
  let queue: RecordedCalls;
  const stops: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    [kube, server] = await Promise.all([startKube(), startRedisServer()]);
  });
  afterAll(async () => {
    await Promise.all([kube.stop(), server.remove()]);
  });
  beforeEach(() => {
    queue = recordedCalls(server.url);
  });
  afterEach(async () => {
    await Promise.all(stops.splice(0).map((stop) => stop()));
    queue.close();
    for (const { metadata } of (await kube.client.list(TIME_TRIGGERS)).items)
      await kube.client.delete(TIME_TRIGGERS, metadata);
    const redis = new Redis(server.url);
    await redis.flushall();
    redis.disconnect();
  });

  const LIMITS = {
    sweepMs: 200,
    leaseMs: 1_000,
    statusPauseMs: 250,
    graceMs: 500,
    goneMs: 1_000,
    waitMs: 200,
  };
  let replicas = 0;
  function replica({ limits, ...given }: Partial<TimerDeps> = {}): Part {
    const redis = redisConnection({ url: server.url, log, name: "timers" });
    const part = startTimers({
      client: kube.client,
      log,
      redis,
      accept: queue.accept,
      calls: queue.calls,
      warm: () => undefined,
      name: `replica-${++replicas}`,
      metrics: triggerMetrics(metricsRegistry()),
      limits: { ...LIMITS, ...limits },
      ...given,
    });
    let stopped = false;
    const stop = async () => {
      if (stopped) return;
      stopped = true;
      await part.stop(1_000);
      await redis.close();
    };
    stops.push(stop);
    return { stop };
  }
  const ref = (name: string) => ({ namespace: "default", name });
  const create = (name: string, spec: Partial<TimeTrigger["spec"]>) =>
    kube.client.create(TIME_TRIGGERS, {
      apiVersion: "fission.io/v1",
      kind: "TimeTrigger",
      metadata: ref(name),
      spec: { cron: "@every 1s", functionref: { type: "name", name: "hello" }, ...spec },
    });
  const get = (name: string) => kube.client.get(TIME_TRIGGERS, ref(name));
  const change = (name: string, spec: object) => kube.client.patch(TIME_TRIGGERS, ref(name), { spec });
  const accepted = (count: number): Promise<Recorded[]> =>
    eventually(queue.accepted, (calls) => calls.length >= count, 60_000);
  const timesOf = (calls: readonly Recorded[]): number[] =>
    calls.map(({ event }) => Date.parse(event.headers["x-fission-timer-scheduled-time"] ?? ""));

  test("a fire is one call, with the trigger's method, path, headers and body, never early", async () => {
    const registry = metricsRegistry();
    replica({ metrics: triggerMetrics(registry) });
    await create("tick", {
      cron: "@every 1s",
      method: "PUT",
      subpath: "/a?b=c",
      headers: { "X-Team": "blue" },
      body: '{"n":1}',
      functionref: { type: "name", name: "hello", alias: "live" },
    });
    const calls = await accepted(3);
    const made = Date.parse((await get("tick")).metadata.creationTimestamp ?? "");
    expect(timesOf(calls).slice(0, 3)).toEqual([made + 1_000, made + 2_000, made + 3_000]);
    for (const { atMs, event } of calls)
      expect(atMs).toBeGreaterThanOrEqual(Date.parse(event.headers["x-fission-timer-scheduled-time"] ?? ""));
    expect(calls[0]).toMatchObject({
      source: "timer/tick",
      target: { type: "name", name: "hello", alias: "live" },
      event: {
        namespace: "default",
        method: "PUT",
        path: "/a?b=c",
        body: '{"n":1}',
        headers: {
          "x-team": "blue",
          "x-fission-timer-name": "tick",
          "ce-type": "dev.isotope.timer.fired",
          "ce-source": "/isotope/default/timetriggers/tick",
        },
      },
    });
    const { status } = await eventually(
      () => get("tick"),
      (timer) => (timer.status?.recentFires?.length ?? 0) >= 3,
    );
    expect(registry.text()).toMatch(/isotope_triggers_timer_fires_total\{outcome="Fired"\} ([3-9]|\d\d)/);
    expect(registry.text()).toMatch(/isotope_triggers_timer_lateness_seconds_count ([3-9]|\d\d)/);
    const oldest = status?.recentFires?.at(-1);
    const its = (await queue.accepted()).find(
      (one) => timesOf([one])[0] === Date.parse(oldest?.scheduledTime ?? ""),
    );
    expect(oldest).toMatchObject({ outcome: "Fired", invocationId: its?.id ?? "none of the calls" });
    expect(status?.nextFires).toHaveLength(10);
    const shown = (status?.nextFires ?? []).map((time) => Date.parse(time));
    expect(shown.map((time) => (time - made) % 1_000)).toEqual(Array(10).fill(0));
  });

  test("suspended, nothing fires and nothing is made up for; another schedule counts from now; a deleted timer is forgotten", async () => {
    replica();
    await create("stop", {});
    await accepted(1);
    await change("stop", { suspend: true });
    const { status } = await eventually(
      () => get("stop"),
      (timer) => timer.status?.nextFires?.length === 0,
    );
    expect(status?.recentFires?.length).toBeGreaterThan(0);
    const before = (await queue.accepted()).length;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect((await queue.accepted()).length).toBe(before);
    const resumedAt = Date.now();
    await change("stop", { suspend: false });
    const [first = 0] = timesOf((await accepted(before + 1)).slice(before));
    expect(first).toBeGreaterThan(resumedAt - 1_000);
    await change("stop", { cron: "0 0 1 1 *" });
    await eventually(
      () => get("stop"),
      (timer) => timer.status?.nextFires?.[0]?.endsWith("-01-01T00:00:00.000Z") ?? false,
    );
    await kube.client.delete(TIME_TRIGGERS, ref("stop"));
    const redis = new Redis(server.url);
    await eventually(
      () => redis.keys("*:timer:default/stop*"),
      (keys) => keys.length === 0,
    );
    redis.disconnect();
  });

  test("restarted after a downtime: the last time is made up for, the others are missed and said so", async () => {
    const first = replica();
    await create("down", { cron: "* * * * *" });
    await eventually(
      () => get("down"),
      (timer) => timer.status?.nextFires?.length === 10,
    );
    await first.stop(0);
    const before = (await queue.accepted()).length;
    await rewind(server, "default/down", 600_000);
    replica();
    const [call] = (await accepted(before + 1)).slice(before);
    expect(Date.now() - (timesOf(call ? [call] : [])[0] ?? 0)).toBeLessThan(300_000);
    const found = await eventually(
      () => get("down"),
      (timer) => timer.status?.recentFires?.some(({ outcome }) => outcome === "Missed") ?? false,
    );
    const missed = found.status?.recentFires?.find(({ outcome }) => outcome === "Missed");
    expect(missed?.missed).toBeGreaterThanOrEqual(8);
  });

  test("Forbid: the latest time waits for the call before and starts late, those between are skipped; Replace cancels", async () => {
    replica();
    await create("one", { concurrencyPolicy: "Forbid" });
    const [call] = await accepted(1);
    // On a busy machine the first times may have come together: of those, all but the latest are skipped before any call.
    await eventually(
      () => get("one"),
      (timer) =>
        (timer.status?.recentFires?.filter(
          ({ outcome, message }) => outcome === "Skipped" && message?.includes(call?.id ?? "no call"),
        ).length ?? 0) >= 2,
    );
    expect(await queue.accepted()).toHaveLength(1);
    await queue.end(call?.id ?? "");
    const [first = 0, second = 0] = timesOf(await accepted(2));
    expect(second).toBeGreaterThan(first + 2_000);
    await change("one", { concurrencyPolicy: "Replace" });
    const calls = await accepted(4);
    await eventually(
      () => queue.calls.isUnderWay(calls[2]?.id ?? ""),
      (runs) => !runs,
    );
  });

  test("Forbid: what waits starts late within its deadline, by whichever replica is there then, and not after it", async () => {
    const first = replica();
    // Due once in the test: what comes next is far away.
    const soon = (name: string, spec: Partial<TimeTrigger["spec"]> = {}) =>
      create(name, { cron: "@every 1h", concurrencyPolicy: "Forbid", ...spec });
    await Promise.all([soon("waits"), soon("strict", { startingDeadlineSeconds: 10 })]);
    const names = ["waits", "strict"];
    for (const name of names) await due(server, `default/${name}`);
    const calls = await accepted(2);
    for (const name of names) await due(server, `default/${name}`);
    // Its deadline is over while the call before still runs.
    const strict = await eventually(
      () => get("strict"),
      (timer) => timer.status?.recentFires?.[0]?.outcome === "Skipped",
    );
    expect(strict.status?.recentFires?.[0]?.message).toContain("startingDeadlineSeconds (10) are over");
    await first.stop(0);
    replica();
    expect(await queue.accepted()).toHaveLength(2);
    await Promise.all(calls.map(({ id }) => queue.end(id)));
    const late = (await accepted(3))[2];
    expect(late?.source).toBe("timer/waits");
    expect(await queue.offered()).toBe(3);
  });

  test("after a downtime: none, the last, or all up to the limit are made up for, under Forbid one after the other", async () => {
    const first = replica();
    const spec = { cron: "* * * * *" };
    await create("none", { ...spec, catchUp: "none" });
    await create("all", { ...spec, catchUp: "all", catchUpLimit: 3, concurrencyPolicy: "Forbid" });
    await create("strict", { ...spec, catchUp: "all", startingDeadlineSeconds: 150 });
    const names = ["none", "all", "strict"];
    for (const name of names)
      await eventually(
        () => get(name),
        (timer) => timer.status?.nextFires?.length === 10,
      );
    await first.stop(0);
    const earlier = await queue.accepted();
    const before = earlier.length;
    // A minute may have begun meanwhile: its call would hold up all others of a timer with Forbid.
    await Promise.all(earlier.map(({ id }) => queue.end(id)));
    for (const name of names) await rewind(server, `default/${name}`, 600_000);
    replica();
    const of = (calls: readonly Recorded[], name: string) =>
      calls.slice(before).filter(({ source }) => source === `timer/${name}`);
    for (let done = 0; done < 3; done++) {
      const calls = await eventually(queue.accepted, (all) => of(all, "all").length > done);
      expect(of(calls, "all").length).toBe(done + 1);
      await queue.end(of(calls, "all")[done]?.id ?? "");
    }
    const calls = await eventually(queue.accepted, (all) => of(all, "strict").length >= 2);
    // Another minute may have begun since.
    const times = timesOf(of(calls, "all")).slice(0, 3);
    expect(times).toEqual([times[0] ?? 0, (times[0] ?? 0) + 60_000, (times[0] ?? 0) + 120_000]);
    // Of ten minutes two or three are within the deadline.
    expect([2, 3, 4]).toContain(of(calls, "strict").length);
    expect(of(calls, "none").length).toBeLessThanOrEqual(2);
    for (const name of names) {
      const { status } = await eventually(
        () => get(name),
        (timer) => timer.status?.recentFires?.some(({ outcome }) => outcome === "Missed") ?? false,
      );
      const missed = status?.recentFires?.find(({ outcome }) => outcome === "Missed")?.missed ?? 0;
      expect(missed).toBeGreaterThanOrEqual(6);
    }
  });

  test("three replicas share the timers: each fires some, and one that is gone is stood in for", async () => {
    const calls = recordedCallsBy(server, ["a", "b", "c"]);
    // Nothing runs out on a busy machine: who leaves says so.
    const limits = { leaseMs: 20_000, graceMs: 10_000, goneMs: 20_000 };
    const parts = calls.map(({ queue: own }) => replica({ accept: own.accept, calls: own.calls, limits }));
    const names = Array.from({ length: 24 }, (_, at) => `shared-${at}`);
    for (const name of names) await create(name, { cron: "* * * * * *" });
    await eventually(queue.accepted, (all) => new Set(all.map(({ by }) => by)).size === 3);
    await parts[0]?.stop(0);
    const before = (await queue.accepted()).length;
    await accepted(before + 3 * names.length);
    await Promise.all(parts.map((part) => part.stop(0)));
    for (const { queue: own } of calls) own.close();
    const all = await queue.accepted();
    expect(await queue.offered()).toBe(all.length);
    for (const name of names) {
      const times = timesOf(all.filter(({ source }) => source === `timer/${name}`)).toSorted((a, b) => a - b);
      expect(times).toEqual(times.map((_, at) => (times[0] ?? 0) + at * 1_000));
    }
  });

  test("a call that can never be accepted is said so, and the next time comes all the same", async () => {
    const { PlatformError } = await import("../../../api/errors.ts");
    replica({ accept: () => Promise.reject(new PlatformError("body_too_large", "Too large")) });
    await create("large", {});
    const { status } = await eventually(
      () => get("large"),
      (timer) => (timer.status?.recentFires?.length ?? 0) >= 2,
    );
    expect(status?.recentFires?.[0]).toMatchObject({
      outcome: "Failed",
      message: "body_too_large: Too large",
    });
  });

  test("what cannot be accepted now is accepted later, once", async () => {
    let refusals = 0;
    const { PlatformError } = await import("../../../api/errors.ts");
    replica({
      accept: (acceptance) =>
        refusals++ < 3 ? Promise.reject(new PlatformError("redis_unavailable")) : queue.accept(acceptance),
      log: processLog("triggers", { write: () => undefined }),
    });
    await create("refused", {});
    const made = Date.parse((await get("refused")).metadata.creationTimestamp ?? "");
    const first = [made + 1_000, made + 2_000, made + 3_000];
    // What was refused comes once its lease is over: later ones may come before it.
    const calls = await eventually(
      queue.accepted,
      (all) => all.length >= 5 && first.every((at) => timesOf(all).includes(at)),
    );
    const times = timesOf(calls).toSorted((a, b) => a - b);
    expect(new Set(times).size).toBe(times.length);
    expect(times.slice(0, 3)).toEqual(first);
  });

  test("Redis is lost with all that it held: what was seen to is not called again", async () => {
    replica({ log: processLog("triggers", { write: () => undefined }) });
    await create("lost", { cron: "@every 1s" });
    await accepted(2);
    const shown = await eventually(
      () => get("lost"),
      (timer) => timer.status?.lastScheduleTime !== undefined,
    );
    await stops.splice(0)[0]?.();
    const redis = new Redis(server.url);
    await redis.flushall();
    redis.disconnect();
    replica();
    const [first = 0] = timesOf(await accepted(1));
    expect(first).toBeGreaterThan(Date.parse(shown.status?.lastScheduleTime ?? "") - 1);
  });

  test("what a timer will call is warmed before", async () => {
    const warmed: string[] = [];
    replica({
      warm: ({ metadata }) => warmed.push(metadata.name),
      limits: { sweepMs: 100, warmAheadMs: 2_000 },
    });
    await create("cold", { cron: "@every 1s" });
    await eventually(
      () => Promise.resolve(warmed),
      (names) => names.includes("cold"),
    );
  });
});

const recordedCallsBy = (server: RedisServer, names: readonly string[]) =>
  names.map((name) => ({ queue: recordedCalls(server.url, name) }));

/** Makes a timer's next time be now. */
async function due(server: RedisServer, timer: string): Promise<void> {
  const redis = new Redis(server.url);
  const [record = ""] = await eventually(
    async () => (await redis.keys(`*:timer:${timer}`)).toSorted(),
    (keys) => keys.length > 0,
    60_000,
  );
  const next = Date.now();
  await redis.hset(record, "next", String(next));
  await redis.zadd(record.replace(/:timer:.*$/, ":due"), String(next), timer);
  redis.disconnect();
}

/** Makes a timer's next time lie further back, as if nobody had looked meanwhile. */
async function rewind(server: RedisServer, timer: string, byMs: number): Promise<void> {
  const redis = new Redis(server.url);
  const [record = ""] = (await redis.keys(`*:timer:${timer}`)).toSorted();
  const next = Number(await redis.hget(record, "next")) - byMs;
  await redis.hset(record, "next", String(next));
  await redis.zadd(record.replace(/:timer:.*$/, ":due"), String(next), timer);
  redis.disconnect();
}
