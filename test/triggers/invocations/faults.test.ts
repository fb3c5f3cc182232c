import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Deliver, Outcome } from "../../../engine/triggers/delivery/event.ts";
import type { Acceptance } from "../../../engine/triggers/invocations/accept.ts";
import type { InvocationsOptions } from "../../../engine/triggers/invocations/invocations.ts";
import { triggerMetrics } from "../../../engine/triggers/trigger-metrics.ts";
import { metricsRegistry } from "../../../net/metrics.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../../redis-server.ts";
import { type RedisCluster, redisCluster } from "../../workflows/redis-cluster.ts";
import { payloadsIn } from "./storage.ts";
import { functionObject, functionWorld, type Replica, startReplica } from "./replica.ts";
import { asserted } from "../../asserted.ts";

const done: Outcome = { kind: "done", status: 200, headers: {}, body: Buffer.from("done") };
const unavailable: Outcome = {
  kind: "failed",
  failure: { status: 503, reason: "function_error", message: "answered 503" },
};
/** Longer than a busy machine stands still: whose lease runs out has its deliveries made once more. */
const LEASE_MS = 4_000;

const acceptance = (key = "default/hello", given: Partial<Acceptance> = {}): Acceptance => {
  const [namespace = "", name = ""] = key.split("/");
  return {
    event: { id: "", namespace, method: "POST", path: "/", headers: {}, body: Buffer.from("payload") },
    target: { type: "name", name },
    source: "http",
    policy: { backoffBaseMs: 50, backoffCapMs: 200 },
    ...given,
  };
};

const replicas: Replica[] = [];
afterEach(async () => {
  await Promise.all(replicas.splice(0).map((replica) => replica.end().catch(() => undefined)));
});

async function running(
  url: string,
  deliver: Deliver,
  options: Partial<InvocationsOptions> = {},
): Promise<Replica> {
  const functions = functionWorld("default/hello", "default/other", "noisy/flood");
  functions.specs.set("default/other", functionObject("default/other", { invocation: { concurrency: 3 } }));
  const made = await startReplica(url, functions, deliver, { leaseMs: LEASE_MS, ...options });
  replicas.push(made);
  made.start();
  return made;
}
async function succeeded(on: Replica, ids: readonly string[]): Promise<void> {
  for (const id of ids)
    await asserted(async () => expect(await on.journal.get(id)).toMatchObject({ status: "succeeded" }));
}

describe.skipIf(!hasRedis)("invocations in trouble", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedisServer("always");
  });
  afterAll(() => server?.remove());

  it("lose nothing that was accepted while Redis is away for longer than leases last", async () => {
    const calls = new Map<string, number>();
    const deliver: Deliver = async (_target, { id }) => {
      calls.set(id, (calls.get(id) ?? 0) + 1);
      await sleep(200);
      return done;
    };
    const [on, other] = [await running(server.url, deliver), await running(server.url, deliver)];
    const accepted: string[] = [];
    let refused = 0;
    const stop = new AbortController();
    const callers = [on, other].map(async (replica) => {
      while (!stop.signal.aborted) {
        await replica.accept(acceptance()).then(
          ({ id }) => accepted.push(id),
          (error: unknown) => {
            expect(error).toMatchObject({ code: "redis_unavailable" });
            refused += 1;
          },
        );
        await sleep(10);
      }
    });
    await asserted(() => expect(calls.size).toBeGreaterThan(10));
    await server.stop("SIGKILL");
    await sleep(3 * LEASE_MS);
    await server.start();
    await asserted(() => expect(on.redis.state()).toBe("ready"));
    const before = accepted.length;
    await asserted(() => expect(accepted.length).toBeGreaterThan(before + 10));
    stop.abort();
    await Promise.all(callers);
    expect(refused).toBeGreaterThan(10);
    await succeeded(on, accepted);
    // Deliveries that were under way may be made once more, no others.
    expect(Math.max(...calls.values())).toBeLessThanOrEqual(2);
  }, 180_000);

  it("wait for a function that fails for a while", async () => {
    let well = false;
    const on = await running(server.url, async () => (well ? done : unavailable));
    const policy = { backoffBaseMs: 20, backoffCapMs: 100, maxAttempts: 1_000 };
    const ids = await Promise.all(
      Array.from({ length: 30 }, async () => (await on.accept(acceptance("default/hello", { policy }))).id),
    );
    await asserted(async () => expect((await on.journal.get(ids[0] ?? ""))?.failures).toBeGreaterThan(5));
    expect(await on.journal.count("default/hello")).toMatchObject({ dead: 0 });
    well = true;
    await succeeded(on, ids);
  });

  it("of a function that floods the queue or fails all the time let those of others pass, in its namespace too", async () => {
    let others = 0;
    const order: string[] = [];
    const on = await running(
      server.url,
      async ({ name }) => {
        order.push(name);
        if (name === "other") {
          others += 1;
          return done;
        }
        await sleep(20);
        return unavailable;
      },
      { slots: 16 },
    );
    const policy = { backoffBaseMs: 1, backoffCapMs: 1, maxAttempts: 1_000 };
    await Promise.all(
      Array.from({ length: 1_000 }, () => on.accept(acceptance("default/hello", { policy }))),
    );
    await asserted(() => expect(order.length).toBeGreaterThan(100));
    let passed = 0;
    for (let at = 0; at < 5; at++) {
      const from = order.length;
      await succeeded(on, [(await on.accept(acceptance("default/other"))).id]);
      passed += order.indexOf("other", from) - from;
    }
    expect(others).toBe(5);
    // Less than a round of the flood went by for each of them.
    expect(passed).toBeLessThan(1_000);
  });

  it("run no more at once than their function may, over all replicas", async () => {
    let now = 0;
    let most = 0;
    const accepted: string[] = [];
    const deliver: Deliver = async (_target, { id }) => {
      if (!ids.has(id)) return done;
      most = Math.max(most, (now += 1));
      await sleep(20);
      now -= 1;
      return done;
    };
    // Of the flood before, some are left.
    const ids = new Set<string>();
    const [on] = [await running(server.url, deliver), await running(server.url, deliver)];
    await Promise.all(
      Array.from({ length: 40 }, async (_, at) => {
        const event = { ...acceptance("default/other").event, id: `event-${at}` };
        ids.add(event.id);
        accepted.push((await on.accept(acceptance("default/other", { event }))).id);
      }),
    );
    await succeeded(on, accepted);
    expect(most).toBe(3);
  });
});

describe.skipIf(!hasRedis)("invocations of a replica that is stopped", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedisServer();
  });
  afterAll(() => server?.remove());

  it("end within its grace, or are another's at once and use up no attempt; all of it is counted", async () => {
    const registry = metricsRegistry();
    const metrics = triggerMetrics(registry);
    const ends = new Map<string, () => void>();
    const deliver: Deliver = async ({ name }, _event, { signal }) => {
      await new Promise<void>((resolve, reject) => {
        ends.set(name, resolve);
        signal.addEventListener("abort", () => reject(signal.reason));
      });
      return done;
    };
    const leaving = await running(server.url, deliver, { leaseMs: 60_000, metrics });
    const quick = await leaving.accept(acceptance("default/hello"));
    const slow = await leaving.accept(acceptance("noisy/flood", { policy: { maxAttempts: 1 } }));
    await asserted(() => expect(ends.size).toBe(2));
    const stopped = leaving.stop(1_000);
    ends.get("hello")?.();
    await stopped;
    expect(await leaving.journal.get(quick.id)).toMatchObject({ status: "succeeded" });
    expect(await leaving.journal.get(slow.id)).toMatchObject({ status: "queued", tries: 0, failures: 0 });
    const other = await running(server.url, async () => done);
    await succeeded(other, [slow.id]);
    expect(await other.journal.get(slow.id)).toMatchObject({ tries: 1, lost: 0 });
    const text = registry.text();
    expect(text).toContain('isotope_triggers_accepted_total{source="http"} 2');
    expect(text).toContain('isotope_triggers_settled_total{outcome="done"} 1');
    expect(text).toContain('isotope_triggers_settled_total{outcome="again"} 1');
    // Another look at the queues than the one at the start of the first.
    const watched = metricsRegistry();
    await running(server.url, async () => done, { metrics: triggerMetrics(watched) });
    await asserted(() =>
      expect(watched.text()).toContain(
        'isotope_triggers_invocations{namespace="default",target="hello",state="waiting"} 0',
      ),
    );
  });
});

describe.skipIf(!hasRedis)("invocations on a Redis Cluster", () => {
  let cluster: RedisCluster;
  const folder = mkdtempSync(join(tmpdir(), "isotope-large-"));
  beforeAll(async () => {
    cluster = await redisCluster(3);
  });
  afterAll(async () => {
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it("are accepted, delivered, buried, redriven, listed and cancelled", async () => {
    let well = true;
    const rejected: Outcome = {
      kind: "rejected",
      failure: { status: 422, reason: "function_error", message: "answered 422" },
    };
    const on = await running(cluster.url, async () => (well ? done : rejected), {
      payloads: await payloadsIn(folder),
    });
    const names = ["default/hello", "default/other", "noisy/flood"];
    const first = await Promise.all(names.map(async (name) => (await on.accept(acceptance(name))).id));
    await succeeded(on, first);
    const large = { ...acceptance(), event: { ...acceptance().event, body: Buffer.alloc(400_000) } };
    await succeeded(on, [(await on.accept(large)).id]);
    well = false;
    const bad = await Promise.all(names.map(async (name) => (await on.accept(acceptance(name))).id));
    await asserted(async () => {
      const { items } = await on.journal.list({ status: "dead", limit: 10 });
      expect(items.map(({ id }) => id).toSorted()).toEqual(bad.toSorted());
    });
    well = true;
    expect(await on.journal.redrive(bad)).toMatchObject({ count: 3 });
    await succeeded(on, bad);
    const { id } = await on.accept(acceptance("default/hello", { delayMs: 60_000 }));
    expect(await on.journal.cancel(id)).toBe("cancelled");
    expect(await on.journal.depths()).toHaveLength(3);
  });
});
