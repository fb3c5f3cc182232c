import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Deliver, Outcome, Target, TriggerEvent } from "../../../engine/triggers/delivery/event.ts";
import type { Acceptance } from "../../../engine/triggers/invocations/accept.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../../redis-server.ts";
import { functionObject, functionWorld, type Functions, type Replica, startReplica } from "./replica.ts";
import { asserted } from "../../asserted.ts";

let server: RedisServer;
let functions: Functions;
const replicas: Replica[] = [];

beforeAll(async () => {
  if (hasRedis) server = await startRedisServer();
});
afterAll(async () => server?.remove());
beforeEach(() => {
  functions = functionWorld("default/hello", "default/other", "noisy/flood");
});
afterEach(async () => {
  await Promise.all(replicas.splice(0).map((replica) => replica.end().catch(() => undefined)));
});

interface Call {
  readonly target: Target;
  readonly event: TriggerEvent;
  readonly attempt: number;
}

/** Functions as the router shows them: what each call comes to. */
function farSide(answer: (call: Call, signal: AbortSignal) => Outcome | Promise<Outcome>) {
  const calls: Call[] = [];
  const deliver: Deliver = async (target, event, { attempt, signal }) => {
    const call = { target, event, attempt };
    calls.push(call);
    return answer(call, signal);
  };
  return { calls, deliver };
}

const ok = (body = "done"): Outcome => ({
  kind: "done",
  status: 200,
  headers: { "content-type": "text/plain" },
  body: Buffer.from(body),
});
const failed = (status = 500, afterMs?: number): Outcome => ({
  kind: "failed",
  failure: { status, reason: "function_error", message: `answered ${status}` },
  ...(afterMs === undefined ? {} : { afterMs }),
});
const rejected = (status = 400): Outcome => ({
  kind: "rejected",
  failure: { status, reason: "function_error", message: `answered ${status}` },
});

const QUICK = { backoffBaseMs: 10, backoffCapMs: 50, jitter: false };

function acceptance(key = "default/hello", given: Partial<Acceptance> = {}, body = "payload"): Acceptance {
  const [namespace = "", name = ""] = key.split("/");
  return {
    event: {
      id: "",
      namespace,
      method: "POST",
      path: "/a?b=c",
      headers: { "content-type": "text/plain" },
      body: Buffer.from(body),
    },
    target: { type: "name", name },
    source: "http",
    policy: QUICK,
    ...given,
  };
}

async function replica(deliver: Deliver, options: Parameters<typeof startReplica>[3] = {}): Promise<Replica> {
  const made = await startReplica(server.url, functions, deliver, options);
  replicas.push(made);
  return made;
}

async function running(deliver: Deliver, options: Parameters<typeof startReplica>[3] = {}): Promise<Replica> {
  const made = await replica(deliver, options);
  made.start();
  return made;
}

const statusOf = async (on: Replica, id: string): Promise<string | undefined> =>
  (await on.journal.get(id))?.status;

describe.skipIf(!hasRedis)("invocations", () => {
  beforeEach(() => startedFresh());

  async function startedFresh(): Promise<void> {
    const made = await startReplica(server.url, functions, async () => ok());
    await made.redis.client().flushall();
    await made.end();
  }

  it("are delivered as they were accepted, and their result is kept", async () => {
    const far = farSide(() => ok("answer"));
    const on = await running(far.deliver);
    const { id } = await on.accept(acceptance());
    await asserted(async () => expect(await statusOf(on, id)).toBe("succeeded"));
    expect(far.calls).toHaveLength(1);
    expect(far.calls[0]).toMatchObject({
      target: { type: "name", name: "hello" },
      attempt: 1,
      event: {
        id,
        namespace: "default",
        method: "POST",
        path: "/a?b=c",
        headers: {
          "content-type": "text/plain",
          "x-fission-invocation-id": id,
          "x-fission-invocation-attempt": "1",
          "x-fission-invocation-depth": "0",
        },
      },
    });
    expect(Buffer.from(far.calls[0]?.event.body ?? []).toString()).toBe("payload");
    const kept = await on.journal.get(id);
    expect(kept?.result?.status).toBe(200);
    expect(Buffer.from(kept?.result?.body ?? []).toString()).toBe("answer");
  });

  it("are tried again until they go well, with the same event", async () => {
    const far = farSide(({ attempt }) => (attempt < 3 ? failed(503) : ok()));
    const on = await running(far.deliver);
    const { id } = await on.accept(acceptance());
    await asserted(async () => expect(await statusOf(on, id)).toBe("succeeded"));
    expect(far.calls.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(new Set(far.calls.map(({ event }) => event.id))).toEqual(new Set([id]));
    expect(await on.journal.get(id)).toMatchObject({ tries: 3, failures: 2 });
  });

  it("become dead letters after the last attempt, with everything that was sent and why", async () => {
    const far = farSide(() => failed(500));
    const on = await running(far.deliver);
    const { id } = await on.accept(acceptance("default/hello", { policy: { ...QUICK, maxAttempts: 2 } }));
    await asserted(async () => expect(await statusOf(on, id)).toBe("dead"));
    const dead = await on.journal.get(id);
    expect(dead).toMatchObject({
      failures: 2,
      failure: { status: 500, reason: "function_error", message: "answered 500" },
      event: { path: "/a?b=c", headers: { "content-type": "text/plain" } },
    });
    expect(Buffer.from(dead?.body ?? []).toString()).toBe("payload");
    const { items } = await on.journal.list({ namespace: "default", status: "dead", limit: 10 });
    expect(items.map((item) => item.id)).toEqual([id]);
    expect(await on.journal.count("default/hello")).toEqual({ waiting: 0, running: 0, dead: 1 });
  });

  it("become dead letters at once when another attempt would change nothing", async () => {
    const far = farSide(() => rejected(422));
    const on = await running(far.deliver);
    const { id } = await on.accept(acceptance());
    await asserted(async () => expect(await statusOf(on, id)).toBe("dead"));
    expect(far.calls).toHaveLength(1);
  });

  it("wait as long as Retry-After asks, and no shorter than the back-off", async () => {
    const at: number[] = [];
    const far = farSide(({ attempt }) => {
      at.push(performance.now());
      return attempt === 1 ? failed(429, 400) : ok();
    });
    const on = await running(far.deliver);
    const { id } = await on.accept(acceptance());
    await asserted(async () => expect(await statusOf(on, id)).toBe("succeeded"));
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(395);
  });

  it("use up no attempt when the platform has no room", async () => {
    let overloads = 5;
    const far = farSide(() => {
      overloads -= 1;
      return overloads < 0
        ? ok()
        : {
            kind: "overloaded",
            afterMs: 5,
            failure: { status: 429, reason: "queue_full", message: "full" },
          };
    });
    const on = await running(far.deliver);
    const { id } = await on.accept(acceptance("default/hello", { policy: { ...QUICK, maxAttempts: 1 } }));
    await asserted(async () => expect(await statusOf(on, id)).toBe("succeeded"));
    expect(await on.journal.get(id)).toMatchObject({ tries: 1, failures: 0 });
  });

  it("of the same dedup key and function are one; of another function, another", async () => {
    const on = await replica(async () => ok());
    const first = await on.accept(acceptance("default/hello", { dedupKey: "k" }));
    const second = await on.accept(acceptance("default/hello", { dedupKey: "k" }));
    const other = await on.accept(acceptance("default/other", { dedupKey: "k" }));
    expect(second).toMatchObject({ id: first.id, duplicate: true });
    expect(other.duplicate).toBe(false);
    expect(await on.journal.count("default/hello")).toMatchObject({ waiting: 1 });
  });

  it("wait for their delay, and can be cancelled meanwhile", async () => {
    const far = farSide(() => ok());
    const on = await running(far.deliver);
    const startedAt = performance.now();
    // Time enough to cancel it, and due before the other.
    const cancelled = await on.accept(acceptance("default/hello", { delayMs: 5_000 }));
    const delayed = await on.accept(acceptance("default/hello", { delayMs: 5_000 }));
    expect(await on.journal.cancel(cancelled.id)).toBe("cancelled");
    await asserted(async () => expect(await statusOf(on, delayed.id)).toBe("succeeded"));
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(4_995);
    await sleep(50);
    expect(far.calls).toHaveLength(1);
    expect(await statusOf(on, cancelled.id)).toBe("cancelled");
  });

  it("may be delayed for longer than they may be old: their age counts from when they are due", async () => {
    const on = await replica(async () => ok());
    const policy = { ...QUICK, maxAgeMs: 100 };
    const { id } = await on.accept(acceptance("default/hello", { delayMs: 60_000, policy }));
    const { acceptedAt = 0, dueAt, ageFrom } = (await on.journal.get(id)) ?? {};
    expect([dueAt, ageFrom]).toEqual([acceptedAt + 60_000, acceptedAt + 60_000]);
    expect(await on.journal.cancel(id)).toBe("cancelled");
  });

  it("that run are aborted when they are cancelled", async () => {
    const far = farSide(async (_call, signal) => {
      await sleep(60_000, undefined, { signal });
      return ok();
    });
    const on = await running(far.deliver);
    const { id } = await on.accept(acceptance());
    await asserted(() => expect(far.calls).toHaveLength(1));
    expect(await on.journal.cancel(id)).toBe("running");
    await asserted(async () => expect(await statusOf(on, id)).toBe("cancelled"));
  });

  it("expire when they are too old", async () => {
    const on = await replica(async () => ok());
    const { id } = await on.accept(acceptance("default/hello", { policy: { ...QUICK, maxAgeMs: 50 } }));
    await sleep(60);
    const far = farSide(() => ok());
    await running(far.deliver);
    await asserted(async () => expect(await statusOf(on, id)).toBe("dead"));
    expect((await on.journal.get(id))?.failure?.reason).toBe("expired");
    expect(far.calls).toEqual([]);
  });

  it("are delivered again when their worker is gone in the middle, and lost ones use up no attempt", async () => {
    const stuck = farSide(async (_call, signal) => {
      await sleep(60_000, undefined, { signal });
      return ok();
    });
    const gone = await running(stuck.deliver, { leaseMs: 3_000 });
    const { id } = await gone.accept(acceptance("default/hello", { policy: { ...QUICK, maxAttempts: 1 } }));
    await asserted(() => expect(stuck.calls).toHaveLength(1));
    gone.vanish();
    const far = farSide(() => ok());
    const on = await running(far.deliver);
    await asserted(async () => expect(await statusOf(on, id)).toBe("succeeded"));
    expect(far.calls[0]?.event.id).toBe(id);
    expect(await on.journal.get(id)).toMatchObject({ lost: 1, failures: 0 });
  });

  it("are shared by replicas, each delivered once", async () => {
    const far = farSide(async () => {
      await sleep(5);
      return ok();
    });
    const [on] = await Promise.all([running(far.deliver), running(far.deliver), running(far.deliver)]);
    const ids = await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const { id } = await on.accept(acceptance(index % 2 === 0 ? "default/hello" : "default/other"));
        return id;
      }),
    );
    for (const id of ids) await asserted(async () => expect(await statusOf(on, id)).toBe("succeeded"));
    expect(far.calls.map(({ event }) => event.id).toSorted()).toEqual(ids.toSorted());
  });

  it("of a slow and noisy namespace keep nobody else waiting", async () => {
    const far = farSide(async ({ event }, signal) => {
      if (event.namespace === "noisy") await sleep(30_000, undefined, { signal });
      return ok();
    });
    const on = await running(far.deliver, { slots: 8 });
    await Promise.all(Array.from({ length: 200 }, () => on.accept(acceptance("noisy/flood"))));
    await asserted(() => expect(far.calls.length).toBeGreaterThan(1));
    const { id } = await on.accept(acceptance("default/hello"));
    await asserted(async () => expect(await statusOf(on, id)).toBe("succeeded"));
    expect(await on.journal.count("noisy/flood")).toMatchObject({ dead: 0 });
  });

  it("are redriven from the dead letters with the same id, or purged", async () => {
    let well = false;
    const far = farSide(() => (well ? ok() : rejected()));
    const on = await running(far.deliver);
    const first = await on.accept(acceptance());
    const second = await on.accept(acceptance());
    await asserted(async () => expect(await on.journal.count("default/hello")).toMatchObject({ dead: 2 }));
    well = true;
    expect(await on.journal.redrive([first.id, "nonsense"])).toMatchObject({ count: 1 });
    await asserted(async () => expect(await statusOf(on, first.id)).toBe("succeeded"));
    expect(await on.journal.get(first.id)).toMatchObject({ redrives: 1, failures: 0, failure: undefined });
    expect(await on.journal.purge([second.id])).toMatchObject({ count: 1 });
    expect(await on.journal.get(second.id)).toBeUndefined();
    expect(await on.journal.count("default/hello")).toEqual({ waiting: 0, running: 0, dead: 0 });
  });

  it("tell their destinations: an answer on success, what was sent on failure; a circle ends", async () => {
    functions.specs.set(
      "default/hello",
      functionObject("default/hello", {
        invocation: {
          onSuccess: { function: { type: "name", name: "other" } },
          onFailure: { function: { type: "name", name: "hello" } },
          retry: { maxAttempts: 1, backoffBase: "10ms" },
        },
      }),
    );
    let answer = ok("result");
    const far = farSide(({ target }) => (target.name === "hello" ? answer : ok("seen")));
    const on = await running(far.deliver);
    const { id } = await on.accept(acceptance());
    await asserted(() => expect(far.calls).toHaveLength(2));
    expect(far.calls[1]).toMatchObject({
      target: { name: "other" },
      event: {
        headers: {
          "content-type": "text/plain",
          "ce-type": "dev.isotope.invocation.succeeded",
          "ce-invocationid": id,
          "x-fission-invocation-depth": "1",
        },
      },
    });
    expect(Buffer.from(far.calls[1]?.event.body ?? []).toString()).toBe("result");
    await asserted(async () =>
      expect((await on.journal.get(id))?.destination).toMatchObject({ to: "function/other" }),
    );
    answer = failed(500);
    await on.accept(acceptance());
    // The first call and three hops.
    await asserted(() => expect(far.calls).toHaveLength(6));
    expect(far.calls[5]?.event.headers).toMatchObject({
      "ce-type": "dev.isotope.invocation.failed",
      "ce-status": "500",
      "x-fission-invocation-depth": "3",
    });
    expect(Buffer.from(far.calls[5]?.event.body ?? []).toString()).toBe("payload");
    await asserted(async () => {
      const { items } = await on.journal.list({ queue: "default/hello", limit: 1 });
      expect(items[0]?.destination?.error).toContain("3 destinations in a row");
    });
  });

  it("call the version of when they were accepted; when it is gone, the function", async () => {
    const hello = functionObject("default/hello", {}, 7);
    const digest = "a".repeat(64);
    functions.specs.set("default/hello", {
      ...hello,
      status: { serving: { generation: 7, package: { digest }, environment: { image: "" } } } as never,
    });
    functions.versions.set("default/hello-v3", {
      metadata: { namespace: "default", name: "hello-v3" },
      spec: {
        functionName: "hello",
        functionUID: "uid-hello",
        functionGeneration: 5,
        sequence: 3,
        packageDigest: `sha256:${digest}`,
        snapshot: hello.spec,
      },
    } as never);
    const far = farSide(({ target }) =>
      target.version
        ? { kind: "rejected", failure: { status: 404, reason: "version_not_found", message: "gone" } }
        : ok(),
    );
    const on = await running(far.deliver);
    const { id } = await on.accept(acceptance());
    await asserted(async () => expect(await statusOf(on, id)).toBe("succeeded"));
    expect(far.calls.map(({ target }) => target.version)).toEqual(["hello-v3", undefined]);
  });

  it("of functions that do not exist are refused, with nothing kept", async () => {
    const on = await replica(async () => ok());
    await expect(on.accept(acceptance("default/nobody"))).rejects.toMatchObject({
      code: "function_not_found",
    });
    expect(await on.journal.list({ limit: 10 })).toEqual({ items: [] });
  });

  it("are refused while Redis is away, and go on when it is back", async () => {
    const own = await startRedisServer("always");
    try {
      const far = farSide(() => ok());
      const on = await startReplica(own.url, functions, far.deliver);
      replicas.push(on);
      on.start();
      const { id } = await on.accept(acceptance("default/hello", { delayMs: 500 }));
      await own.stop("SIGKILL");
      await asserted(() => expect(on.redis.state()).toBe("lost"));
      await expect(on.accept(acceptance())).rejects.toMatchObject({ code: "redis_unavailable" });
      await own.start();
      await asserted(async () => expect(await statusOf(on, id).catch(() => "")).toBe("succeeded"));
    } finally {
      await own.remove();
    }
  });

  it("are gone when their retention is over", async () => {
    const far = farSide(() => ok());
    const on = await running(far.deliver, { resultTtlMs: 50 });
    const { id } = await on.accept(acceptance());
    // Its end may be seen by nobody: it is kept for so short a time.
    await asserted(() => expect(far.calls).toHaveLength(1));
    await asserted(async () => {
      await Promise.all(Array.from({ length: 256 }, (_, partition) => on.journal.clean(partition, 100)));
      expect(await on.journal.get(id)).toBeUndefined();
    });
    const left = await on.redis.client().keys("{ev:*");
    expect(left).toEqual([]);
  });
});
