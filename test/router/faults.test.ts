import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PlatformError } from "../../api/errors.ts";
import { createWorld, type RunningRouter, type World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const reason = async (reply: Response): Promise<unknown> =>
  ((await reply.json()) as { reason: string }).reason;
const times = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
const tally = (values: readonly unknown[]) => {
  const counts: Record<string, number> = {};
  for (const value of values) counts[String(value)] = (counts[String(value)] ?? 0) + 1;
  return counts;
};

/** Calls `urls` in turn with so many at once until `stop` resolves. @returns all statuses */
async function load(
  urls: readonly string[],
  concurrency: number,
  stop: Promise<unknown>,
): Promise<unknown[]> {
  const results: unknown[] = [];
  const state = { running: true };
  void stop.then(() => (state.running = false));
  await Promise.all(
    times(concurrency, async (i) => {
      for (let n = i; state.running; n += 1) {
        const url = urls[n % urls.length] ?? "";
        try {
          const reply = await fetch(url);
          await reply.arrayBuffer();
          results.push(reply.status);
        } catch (error) {
          results.push(error instanceof Error ? (error.cause ?? error) : error);
        }
      }
    }),
  );
  return results;
}
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("two routers side by side", () => {
  const both = (routers: readonly RunningRouter[], path: string) =>
    routers.map((router) => router.url + path);

  test("requestsPerPod is never passed and no request fails", async () => {
    world.deploy({ requestsPerPod: 2, concurrency: 3 });
    world.trigger("t", { prefix: "/p" });
    const routers = [await world.router(), await world.router()];
    const results = await load(both(routers, "/p/slow?ms=5"), 16, wait(900));
    expect(Object.keys(tally(results))).toEqual(["200"]);
    const pods = world.executor.pods.get("uid-hello/r1") ?? [];
    expect(pods.length).toBeLessThanOrEqual(3);
    for (const pod of pods) expect(pod.mostInFlight).toBeLessThanOrEqual(2);
    expect(Math.max(...pods.map((pod) => pod.mostInFlight))).toBe(2);
  });

  test("onceOnly: every pod serves exactly one request", async () => {
    world.deploy({ requestsPerPod: 1, onceOnly: true, concurrency: 40 });
    world.trigger("t", { prefix: "/p" });
    const routers = [await world.router(), await world.router()];
    const replies = await Promise.all(times(30, (i) => fetch(`${routers[i % 2]?.url}/p/slow?ms=3`)));
    expect(tally(replies.map((reply) => reply.status))).toEqual({ 200: 30 });
    const pods = world.executor.pods.get("uid-hello/r1") ?? [];
    expect(pods.filter((pod) => pod.started > 1)).toEqual([]);
    expect(pods.reduce((sum, pod) => sum + pod.started, 0)).toBe(30);
  });
});

describe("pods that change", () => {
  test("an address that now belongs to another function's pod never gets the request", async () => {
    const old = await world.pod({ host: "127.0.0.77" });
    world.deploy();
    world.trigger("t", { relativeurl: "/hello" });
    const { url } = await world.router();
    expect((await fetch(`${url}/hello`)).status).toBe(200);
    // The pod dies and its address is given to another tenant's pod, while the slices still name the old one.
    await old.close();
    const other = await world.pod({ name: "other", host: old.host, port: old.port });
    const before = other.started;
    const reply = await fetch(`${url}/hello`);
    expect(reply.status).toBe(200);
    expect(((await reply.json()) as { name: string }).name).toBe("hello");
    expect(other.started).toBe(before);
  });

  test("a pod that answers as another one is dropped and reported, the request goes elsewhere", async () => {
    const odd = await world.pod();
    world.deploy();
    world.trigger("t", { relativeurl: "/hello" });
    const { url } = await world.router();
    odd.refuseAll = "wrong-pod";
    expect((await fetch(`${url}/hello`, { method: "POST", body: "x".repeat(200_000) })).status).toBe(200);
    for (const refusal of ["wrong-revision", "retired", "not-specialised"]) {
      const pod = await world.pod();
      pod.refuseAll = refusal;
    }
    const replies = await Promise.all(times(12, () => fetch(`${url}/hello`)));
    expect(tally(replies.map((reply) => reply.status))).toEqual({ 200: 12 });
    const reported = () => world.executor.suspects.find(({ podUid }) => podUid === odd.uid);
    await world.until(() => reported() !== undefined);
    expect(reported()).toMatchObject({ reason: "wrong-pod" });
  });

  test("a dead pod costs nobody an error: what was not sent is sent elsewhere", async () => {
    const [a] = await Promise.all([world.pod(), world.pod()]);
    world.deploy();
    world.trigger("t", { relativeurl: "/hello" });
    const { url } = await world.router();
    await fetch(`${url}/hello`);
    await a.close();
    const replies = await Promise.all(times(20, () => fetch(`${url}/hello`, { method: "POST", body: "x" })));
    // A POST on a kept connection that breaks may have run, so it is not repeated; on a fresh one it was never sent.
    const statuses = tally(replies.map((reply) => reply.status));
    expect((statuses["200"] ?? 0) + (statuses["502"] ?? 0)).toBe(20);
    expect(statuses["502"] ?? 0).toBeLessThanOrEqual(1);
    expect(
      tally((await Promise.all(times(20, () => fetch(`${url}/hello`)))).map((reply) => reply.status)),
    ).toEqual({ 200: 20 });
  });

  test("a request that may have run is not repeated", async () => {
    const pods = [await world.pod(), await world.pod()];
    world.deploy();
    world.trigger("t", { prefix: "/p" });
    const { url } = await world.router();
    const reply = await fetch(`${url}/p/reset`, { method: "POST", body: "charge the card" });
    expect([reply.status, await reason(reply)]).toEqual([502, "upstream_reset"]);
    expect(pods.reduce((sum, pod) => sum + pod.started, 0)).toBe(1);
  });
});

describe("changes under load", () => {
  test("a new revision takes over without a failed request, and nothing stale is served after the switch was seen", async () => {
    await world.pod({ revision: "r1" });
    world.deploy({ revision: "r1" });
    world.trigger("t", { prefix: "/p" });
    const { url } = await world.router();
    const done = Promise.withResolvers<void>();
    const running = load([`${url}/p/slow?ms=2`], 8, done.promise);
    for (let version = 2; version <= 6; version += 1) {
      await wait(60);
      world.deploy({ revision: `r${version}` });
      await world.until(async () => {
        const reply = await fetch(`${url}/p/echo`);
        return ((await reply.json()) as { revision: string }).revision === `r${version}`;
      });
      const after = await Promise.all(
        times(
          5,
          async () => ((await (await fetch(`${url}/p/echo`)).json()) as { revision: string }).revision,
        ),
      );
      expect(tally(after)).toEqual({ [`r${version}`]: 5 });
    }
    done.resolve();
    expect(Object.keys(tally(await running))).toEqual(["200"]);
  });

  test("triggers and pods that come and go drop nothing of other routes", async () => {
    await world.pod();
    world.deploy();
    world.trigger("stable", { prefix: "/p" });
    const { url } = await world.router();
    const done = Promise.withResolvers<void>();
    const running = load([`${url}/p/echo`, `${url}/p/slow?ms=1`], 8, done.promise);
    for (let i = 0; i < 100; i += 1) {
      world.trigger(`t${i % 7}`, { relativeurl: `/changing/${i}`, prefix: `/p${i % 3}` });
      world.trigger("stable", { prefix: "/p", methods: i % 2 === 0 ? ["GET"] : ["GET", "POST"] });
      if (i % 5 === 0) world.kube.remove("httptriggers", "default", `t${i % 7}`);
      if (i % 20 === 0) await world.pod();
      if (i % 10 === 0) await wait(10);
    }
    done.resolve();
    expect(Object.keys(tally(await running))).toEqual(["200"]);
  });

  test("of two triggers that claim one path the older serves, and the other takes over when it goes", async () => {
    await world.pod();
    await world.pod({ name: "other" });
    world.deploy();
    world.deploy({ name: "other" });
    const { url } = await world.router();
    world.trigger(
      "young",
      { relativeurl: "/x", functionref: { type: "name", name: "other" } },
      { creationTimestamp: "2026-02-01T00:00:00Z" },
    );
    world.trigger("old", { relativeurl: "/x" }, { creationTimestamp: "2026-01-01T00:00:00Z" });
    const name = async () => ((await (await fetch(`${url}/x`)).json()) as { name?: string }).name;
    await world.until(async () => (await name()) === "hello");
    world.kube.remove("httptriggers", "default", "old");
    await world.until(async () => (await name()) === "other");
  });
});

describe("the platform's other processes", () => {
  test("an API server that is gone: everything known is served; after its return changes arrive, deletes too", async () => {
    await world.pod();
    world.deploy();
    world.trigger("a", { relativeurl: "/a" });
    world.trigger("b", { relativeurl: "/b" });
    const router = await world.router();
    await world.kube.down();
    for (let i = 0; i < 10; i += 1) expect((await fetch(`${router.url}/a`)).status).toBe(200);
    expect(router.metrics()).toMatch(/watch_staleness_ms\{kind="httptriggers"\} \d/);
    world.kube.remove("httptriggers", "default", "b");
    world.kube.compact();
    world.trigger("c", { relativeurl: "/c" });
    await world.kube.up();
    await world.until(async () => (await fetch(`${router.url}/c`)).status === 200);
    expect((await fetch(`${router.url}/b`)).status).toBe(404);
    expect((await fetch(`${router.url}/readyz`)).status).toBe(200);
  });

  test("a dead executor: warm functions do not notice, cold calls wait for its return", async () => {
    await world.pod();
    world.deploy();
    world.deploy({ name: "cold" });
    world.trigger("warm", { relativeurl: "/warm" });
    world.trigger("cold", { relativeurl: "/cold", functionref: { type: "name", name: "cold" } });
    const { url } = await world.router();
    await world.executor.down();
    const cold = fetch(`${url}/cold`);
    for (let i = 0; i < 10; i += 1) expect((await fetch(`${url}/warm`)).status).toBe(200);
    await world.executor.up();
    expect((await cold).status).toBe(200);
  });

  test("an executor that stays away: 503 with Retry-After when the wait is over", async () => {
    world.deploy();
    world.trigger("t", { relativeurl: "/hello" });
    const { url } = await world.router({ coldStartWaitMs: 2_000 });
    await world.executor.down();
    const reply = await fetch(`${url}/hello`);
    expect([reply.status, await reason(reply)]).toEqual([503, "executor_unavailable"]);
    expect(Number(reply.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  });

  test("an executor that flaps fails nobody", async () => {
    world.deploy({ requestsPerPod: 1, concurrency: 8 });
    world.trigger("t", { prefix: "/p" });
    const { url } = await world.router();
    let calls = 0;
    world.executor.before = () => {
      calls += 1;
      if (calls % 2 === 1)
        throw new PlatformError("pool_exhausted", "No generic pod is ready", { retryAfterMs: 100 });
    };
    const replies = await Promise.all(times(8, () => fetch(`${url}/p/slow?ms=20`)));
    expect(tally(replies.map((reply) => reply.status))).toEqual({ 200: 8 });
  });

  test("code that does not load fails the waiting requests at once, and the next call tries again", async () => {
    world.deploy();
    world.trigger("t", { relativeurl: "/hello" });
    world.executor.before = () => {
      throw new PlatformError("specialization_failed", "SyntaxError");
    };
    const { url } = await world.router();
    const replies = await Promise.all(times(5, () => fetch(`${url}/hello`)));
    expect(tally(await Promise.all(replies.map(reason)))).toEqual({ specialization_failed: 5 });
    world.executor.before = () => undefined;
    expect((await fetch(`${url}/hello`)).status).toBe(200);
  });
});

describe("overload", () => {
  test("beyond the queue only 429 and 503 with Retry-After; who got in is served, and no slot stands idle meanwhile", async () => {
    world.deploy({ requestsPerPod: 4, concurrency: 1 });
    world.trigger("t", { prefix: "/p" });
    const { url } = await world.router({ queueLength: 8, queueWaitMs: 600_000 });
    expect((await fetch(`${url}/p/echo`)).status).toBe(200);
    const [pod] = world.executor.pods.get("uid-hello/r1") ?? [];
    if (!pod) throw new Error("The executor made no pod");
    const letGo = () => {
      for (const go of pod.held.splice(0)) go();
    };
    for (let round = 0; round < 3; round += 1) {
      const answered: Response[] = [];
      const calls = times(40, async () => {
        const reply = await fetch(`${url}/p/held`);
        answered.push(reply);
        return reply.status;
      });
      // Four run, eight wait, and the others know at once.
      await world.until(() => pod.held.length === 4 && answered.length === 28);
      expect(answered.every(({ status }) => status === 429 || status === 503)).toBe(true);
      expect(answered.every(({ headers }) => Number(headers.get("retry-after")) >= 1)).toBe(true);
      for (const left of [4, 0]) {
        letGo();
        await world.until(() => pod.held.length === 4 && answered.length === 40 - left - 4);
      }
      letGo();
      expect(tally(await Promise.all(calls))["200"]).toBe(12);
      for (const reply of answered) await reply.arrayBuffer();
    }
    expect([pod.mostInFlight, pod.refused]).toEqual([4, 0]);
    expect(world.executor.pods.get("uid-hello/r1")).toHaveLength(1);
    expect(world.executor.acquires.length).toBeLessThan(20);
  });

  test("a full concurrency makes requests wait; who waits too long gets 503 queue_timeout", async () => {
    world.deploy({ requestsPerPod: 1, concurrency: 1 });
    world.trigger("t", { prefix: "/p" });
    const { url } = await world.router({ queueWaitMs: 150 });
    const first = fetch(`${url}/p/held`);
    const heldCalls = () => world.executor.pods.get("uid-hello/r1")?.[0]?.held ?? [];
    await world.until(() => heldCalls().length === 1);
    const second = await fetch(`${url}/p/echo`);
    heldCalls()[0]?.();
    expect((await first).status).toBe(200);
    expect([second.status, await reason(second)]).toEqual([503, "queue_timeout"]);
  });
});

describe("drain", () => {
  test("requests in flight and in the queue finish, new connections are refused, readyz says so", async () => {
    const pod = await world.pod({ requestsPerPod: 1 });
    world.deploy({ requestsPerPod: 1, concurrency: 1 });
    world.trigger("t", { prefix: "/p" });
    const { url, router, port, metrics } = await world.router();
    await fetch(`${url}/p/echo`);
    router.beginDrain();
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    const running = times(3, () => fetch(`${url}/p/held`));
    await world.until(
      () => pod.held.length === 1 && /^isotope_router_waiting_requests\{.*\} 2$/m.test(metrics()),
    );
    const drained = router.drain(60_000);
    for (let n = 0; n < 3; n += 1) {
      await world.until(() => pod.held.length === 1);
      pod.held.pop()?.();
    }
    expect(tally((await Promise.all(running)).map((reply) => reply.status))).toEqual({ 200: 3 });
    expect(await drained).toBe(0);
    await expect(
      new Promise((resolve, reject) => {
        connect(port, "127.0.0.1", () => resolve("connected")).once("error", reject);
      }),
    ).rejects.toThrow(/ECONNREFUSED/);
  });

  test("what does not finish is cut at the deadline", async () => {
    const pod = await world.pod();
    world.deploy();
    world.trigger("t", { prefix: "/p" });
    const { url, router } = await world.router();
    const hanging = fetch(`${url}/p/hang`).then(
      () => "answered",
      () => "cut",
    );
    await world.until(() => pod.inFlight === 1);
    expect(await router.drain(100)).toBe(1);
    expect(await hanging).toBe("cut");
  });
});
