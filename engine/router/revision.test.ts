import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type ErrorCode, PlatformError } from "../../api/errors.ts";
import { createEndpoint, type Endpoint } from "./endpoint.ts";
import type { Upstream } from "./http/types.ts";
import { Revision, type RevisionLimits, type Waiter } from "./revision.ts";

const LIMITS: RevisionLimits = {
  queueLength: 20,
  queueWaitMs: 1_000,
  coldStartWaitMs: 5_000,
  scaleUpDelayMs: 10,
  scaleUpAboveMs: 100,
};

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const upstream = (): Upstream => ({
  host: "127.0.0.1",
  port: 1,
  context: undefined,
  active: 0,
  waiting: 0,
  close: () => undefined,
});

let podCount = 0;
function pod(capacity = 1): Endpoint {
  podCount += 1;
  const facts = {
    podUid: `p${podCount}`,
    podName: `p${podCount}`,
    namespace: "n",
    revision: "r",
    address: `a:${podCount}`,
    capacity,
    contract: "direct" as const,
  };
  return createEndpoint(facts, upstream(), "uid", performance.now());
}

interface TestWaiter extends Waiter {
  endpoint: Endpoint | undefined;
  refused: ErrorCode | undefined;
  dispatched: number;
  /** Where it waits when it lost its slot; by default where it was. */
  goesTo: Revision | PlatformError | undefined;
}
function waiter(requestId = ""): TestWaiter {
  const made: TestWaiter = {
    requestId,
    previous: undefined,
    next: undefined,
    queued: false,
    slot: undefined,
    queuedAtMs: 0,
    endpoint: undefined,
    refused: undefined,
    dispatched: 0,
    dispatch: (endpoint) => {
      made.endpoint = endpoint;
      made.dispatched += 1;
    },
    refuse: (error) => {
      made.refused = error.code;
    },
    waiting: () => undefined,
    goesTo: undefined,
    moved: (to) => {
      made.goesTo = to;
    },
    home: () => made.goesTo ?? latest,
  };
  return made;
}

type Acquire = (revision: Revision, waiting: number, waitMs: number) => Promise<boolean>;
let latest: Revision;
const revisionWith = (acquire: Acquire, limits: Partial<RevisionLimits> = {}) => {
  const deps = { limits: { ...LIMITS, ...limits }, now: () => performance.now(), acquire };
  latest = new Revision("uid", "r", deps);
  return latest;
};
const never: Acquire = () => new Promise(() => undefined);

describe("a revision", () => {
  test("waits for the first pod with one acquire, in order", async () => {
    const asked: number[] = [];
    let grant: (() => void) | undefined;
    const revision = revisionWith((given, waiting) => {
      asked.push(waiting);
      return new Promise((resolve) => {
        grant = () => {
          given.add(pod(2));
          resolve(true);
        };
      });
    });
    const all = [waiter("1"), waiter("2"), waiter("3")];
    for (const one of all) revision.admit(one);
    expect(asked).toEqual([1]);
    grant?.();
    await vi.advanceTimersByTimeAsync(0);
    expect(all.map((one) => one.dispatched)).toEqual([1, 1, 0]);
    await vi.advanceTimersByTimeAsync(10);
    expect(asked).toEqual([1, 1]);
  });

  test.each(["refuses it", "cannot be reached", "is busy"])(
    "a request whose pod %s goes to the revision that serves by then, or is told that none does",
    (how) => {
      const old = revisionWith(never);
      old.add(pod(2));
      const [moves, ends] = [waiter(), waiter()];
      for (const one of [moves, ends]) old.admit(one);
      const next = revisionWith(never);
      next.add(pod());
      ends.goesTo = new PlatformError("function_not_found");
      for (const one of [moves, ends]) {
        if (!one.endpoint) throw new Error("it had a slot");
        if (how === "is busy") old.rest(one.endpoint, one);
        else if (how === "cannot be reached") old.fault(one.endpoint, one);
        else {
          old.drop(one.endpoint);
          old.release(one.endpoint, false);
          old.readmit(one);
        }
      }
      expect([moves.goesTo, moves.endpoint, moves.refused]).toEqual([next, next.endpoints[0], undefined]);
      expect(ends.refused).toBe("function_not_found");
      expect([old.queue.length, old.inFlight, next.inFlight]).toEqual([0, 0, 1]);
    },
  );

  test("a busy pod is given a moment before another one is asked for", async () => {
    const acquire = vi.fn(never);
    const revision = revisionWith(acquire);
    revision.add(pod());
    const [first, second] = [waiter(), waiter()];
    revision.admit(first);
    revision.admit(second);
    expect(acquire).not.toHaveBeenCalled();
    if (first.endpoint) revision.release(first.endpoint, true);
    expect(second.dispatched).toBe(1);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(acquire).not.toHaveBeenCalled();
    revision.admit(waiter());
    await vi.advanceTimersByTimeAsync(10);
    expect(acquire).toHaveBeenCalledTimes(1);
  });

  /** Clients that each send the next request when the last has ended, for a second. @returns what was asked for, with the time */
  async function closedLoop(clients: number, pods: Endpoint[], serviceMs: number) {
    const asked: { atMs: number; requests: number }[] = [];
    const begin = performance.now();
    const revision = revisionWith(
      (_, requests) => {
        asked.push({ atMs: performance.now() - begin, requests });
        return never(_, requests, 0);
      },
      { queueLength: 1_000 },
    );
    for (const one of pods) revision.add(one);
    const served = performance.now();
    for (let i = 0; i < 20; i += 1) revision.service.observe(serviceMs, served);
    const call = () => {
      const one = waiter();
      one.dispatch = (endpoint) => {
        setTimeout(() => {
          revision.service.observe(serviceMs, performance.now());
          revision.release(endpoint, true);
          call();
        }, serviceMs);
      };
      revision.admit(one);
    };
    for (let i = 0; i < clients; i += 1) call();
    await vi.advanceTimersByTimeAsync(1_000);
    return asked;
  }

  test("a queue that the pods there are serve in time asks for no further pod", async () => {
    expect(await closedLoop(500, [pod(100)], 10)).toEqual([]);
  });

  test("a queue that they do not serve in time does, for those they would not get to", async () => {
    expect(await closedLoop(500, [pod(100)], 40)).toEqual([{ atMs: 10, requests: 250 }]);
  });

  test("a slow function gets further pods without any reckoning", async () => {
    expect(await closedLoop(10, [pod(1)], 100)).toEqual([{ atMs: 10, requests: 9 }]);
  });

  test("of a known fast function few requests are worth a slot, of an unknown one all", () => {
    const revision = revisionWith(never);
    expect(revision.slotsWorth(500)).toBe(500);
    for (let i = 0; i < 20; i += 1) revision.service.observe(10, performance.now());
    expect(revision.slotsWorth(500)).toBeCloseTo(50);
  });

  test("pods that have stopped answering get company, whatever was known of them", async () => {
    const acquire = vi.fn(never);
    const revision = revisionWith(acquire);
    revision.add(pod());
    for (let i = 0; i < 20; i += 1) revision.service.observe(1, performance.now());
    revision.admit(waiter());
    revision.admit(waiter());
    await vi.advanceTimersByTimeAsync(95);
    expect(acquire).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(15);
    expect(acquire).toHaveBeenCalledTimes(1);
  });

  test("a pod that refused rests and is tried again; the request keeps its place", async () => {
    const revision = revisionWith(never);
    revision.add(pod(1));
    const [first, second] = [waiter(), waiter()];
    revision.admit(first);
    revision.admit(second);
    if (first.endpoint) revision.rest(first.endpoint, first);
    expect([first.dispatched, second.dispatched]).toEqual([1, 0]);
    await vi.advanceTimersByTimeAsync(5);
    expect([first.dispatched, second.dispatched]).toEqual([2, 0]);
  });

  test("an unreachable pod is left alone longer, and does not delay the acquire", () => {
    const acquire = vi.fn(never);
    const revision = revisionWith(acquire);
    revision.add(pod(1));
    const first = waiter();
    revision.admit(first);
    if (first.endpoint) revision.fault(first.endpoint, first);
    expect(acquire).toHaveBeenCalledTimes(1);
    expect(first.dispatched).toBe(1);
  });

  test("the queue is bounded, by twice the slots when that is more", () => {
    const revision = revisionWith(never, { queueLength: 3 });
    const all = Array.from({ length: 5 }, () => waiter());
    for (const one of all) revision.admit(one);
    expect(all.map((one) => one.refused)).toEqual([
      undefined,
      undefined,
      undefined,
      "queue_full",
      "queue_full",
    ]);
    revision.add(pod(4));
    const more = Array.from({ length: 12 }, () => waiter());
    for (const one of more) revision.admit(one);
    expect(more.filter((one) => one.refused === "queue_full")).toHaveLength(3);
  });

  test("requests that would wait longer than allowed are refused at once, with the expected wait", () => {
    const revision = revisionWith(never, { queueLength: 1_000 });
    revision.add(pod(1));
    const running = waiter();
    revision.admit(running);
    for (let i = 0; i < 100; i += 1) revision.admit(waiter());
    revision.ended = 50;
    revision.measure(1_000);
    const late = waiter();
    let error: PlatformError | undefined;
    late.refuse = (given) => {
      error = given;
    };
    revision.admit(late);
    expect(error).toMatchObject({ code: "queue_full", retryAfterMs: 2_000 });
  });

  test.each([
    ["capacity_exceeded", false],
    ["pool_exhausted", false],
    ["executor_unavailable", false],
    ["specialization_failed", true],
    ["function_not_found", true],
  ] as const)("an acquire that fails with %s ends the wait: %s", async (code, ends) => {
    const acquire = vi.fn<Acquire>(() => Promise.reject(new PlatformError(code)));
    const revision = revisionWith(acquire);
    const one = waiter();
    revision.admit(one);
    await vi.advanceTimersByTimeAsync(0);
    expect(one.refused).toBe(ends ? code : undefined);
    await vi.advanceTimersByTimeAsync(10_000);
    // Back-off: never a storm.
    expect(acquire.mock.calls.length).toBeLessThanOrEqual(ends ? 1 : 12);
    if (!ends) expect(revision.waitedInVain().code).toBe(code);
  });

  test("onceOnly: a pod is chosen once", () => {
    const revision = revisionWith(never);
    revision.onceOnly = true;
    revision.add(pod(1));
    const [first, second] = [waiter(), waiter()];
    revision.admit(first);
    if (first.endpoint) revision.release(first.endpoint, true);
    revision.admit(second);
    expect([first.dispatched, second.dispatched, revision.endpoints.length]).toEqual([1, 0, 0]);
  });

  test("a withdrawn request is never dispatched", () => {
    const revision = revisionWith(never);
    const [first, second] = [waiter(), waiter()];
    revision.admit(first);
    revision.admit(second);
    revision.withdraw(first);
    revision.add(pod(2));
    expect([first.dispatched, second.dispatched]).toEqual([0, 1]);
  });

  test("property: whatever happens, no pod is overfilled, no slot is lost, and who waits is served in the end", async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.constant("admit" as const) },
      { weight: 4, arbitrary: fc.constant("end" as const) },
      { weight: 2, arbitrary: fc.constant("busy" as const) },
      fc.constant("fault" as const),
      fc.constant("lost" as const),
      fc.constant("leave" as const),
      fc.constant("add" as const),
      fc.constant("drop" as const),
      fc.constant("time" as const),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(step, fc.nat()), { maxLength: 120 }),
        fc.integer({ min: 1, max: 3 }),
        async (steps, capacity) => {
          const pods = new Set<Endpoint>();
          const revision = revisionWith(
            (given) => {
              if (pods.size >= 4) return Promise.reject(new PlatformError("capacity_exceeded"));
              const made = pod(capacity);
              pods.add(made);
              given.add(made);
              return Promise.resolve(true);
            },
            { queueLength: 1_000 },
          );
          const waiters: TestWaiter[] = [];
          const running = () => waiters.filter((one) => one.endpoint !== undefined);
          const check = () => {
            for (const one of pods) {
              const held = running().filter((other) => other.endpoint === one).length;
              expect(one.inFlight).toBe(held);
              expect(held).toBeLessThanOrEqual(one.capacity);
            }
            expect(revision.inFlight).toBe(running().length);
            expect(revision.slots).toBe(
              [...pods].filter((one) => !one.dropped).reduce((sum, one) => sum + one.capacity, 0),
            );
            for (const one of waiters) expect(one.queued && one.endpoint !== undefined).toBe(false);
          };
          for (const [what, pick] of steps) {
            const live = running();
            const one = live[pick % Math.max(1, live.length)];
            const endpoint = one?.endpoint;
            const some = [...pods][pick % Math.max(1, pods.size)];
            if (what === "admit") {
              const made = waiter();
              waiters.push(made);
              revision.admit(made);
            } else if (what === "time") await vi.advanceTimersByTimeAsync(pick % 700);
            else if (what === "leave") {
              const queued = waiters.filter((other) => other.queued);
              const leaver = queued[pick % Math.max(1, queued.length)];
              if (leaver) {
                revision.withdraw(leaver);
                leaver.refused = "client_disconnect";
              }
            } else if (what === "add" && pods.size < 4) {
              const made = pod(capacity);
              pods.add(made);
              revision.add(made);
            } else if (what === "drop" && some) {
              revision.drop(some);
              if (some.inFlight === 0) pods.delete(some);
            } else if (one && endpoint) {
              one.endpoint = undefined;
              if (what === "end") {
                one.refused = undefined;
                revision.release(endpoint, true);
              } else if (what === "busy") revision.rest(endpoint, one);
              else if (what === "fault") revision.fault(endpoint, one);
              else if (what === "lost") revision.release(endpoint, false);
              if (endpoint.dropped && endpoint.inFlight === 0) pods.delete(endpoint);
            }
            check();
          }
          // Let everything end: nobody may be left behind.
          for (let i = 0; i < 400 && (revision.queue.length > 0 || running().length > 0); i += 1) {
            for (const one of running()) {
              const { endpoint } = one;
              one.endpoint = undefined;
              if (endpoint) {
                revision.release(endpoint, true);
                if (endpoint.dropped && endpoint.inFlight === 0) pods.delete(endpoint);
              }
            }
            await vi.advanceTimersByTimeAsync(500);
          }
          check();
          expect(revision.queue.length).toBe(0);
          expect(revision.inFlight).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });
});
