import { array, assert, asyncProperty, constantFrom, integer, oneof, record } from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { after, createReconciler, done, type Outcome, terminal } from "./reconcile.ts";
import { createWorkQueue } from "./work-queue.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a key waits once, is not worked on twice at a time, and is never lost when added during its work", async () => {
  const queue = createWorkQueue();
  queue.add("a");
  queue.add("a");
  queue.add("b");
  expect(await queue.take()).toBe("a");
  queue.add("a");
  queue.add("a");
  expect(await queue.take()).toBe("b");
  const next = queue.take();
  queue.done("a");
  expect(await next).toBe("a");
  queue.done("a");
  queue.done("b");
  expect(queue.tracked).toBe(0);
});

test("a delayed key comes at its earliest delay, never before", async () => {
  const queue = createWorkQueue();
  queue.addAfter("a", 1_000);
  queue.addAfter("a", 200);
  queue.addAfter("a", 5_000);
  const taken = queue.take();
  let at = -1;
  const started = performance.now();
  void taken.then(() => (at = performance.now() - started));
  await vi.advanceTimersByTimeAsync(199);
  expect(at).toBe(-1);
  await vi.advanceTimersByTimeAsync(1);
  expect(at).toBe(200);
  queue.done("a");
  expect(queue.tracked).toBe(0);
});

test("back-off doubles per failure up to its limit and starts anew after forget", () => {
  const queue = createWorkQueue({ backoff: { baseMs: 100, maxMs: 1_000 }, random: () => 1 });
  expect([1, 2, 3, 4, 5, 6].map(() => queue.addRateLimited("a"))).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  expect(queue.failures("a")).toBe(6);
  queue.forget("a");
  expect(queue.addRateLimited("a")).toBe(100);
});

test("shutting down frees those who wait and everything that is kept", async () => {
  const queue = createWorkQueue();
  queue.addAfter("late", 10);
  const waiting = queue.take();
  queue.shutDown();
  expect(await waiting).toBeUndefined();
  expect(await queue.take()).toBeUndefined();
  queue.add("a");
  await vi.advanceTimersByTimeAsync(100);
  expect(queue.tracked).toBe(0);
});

type Step = { key: string; act: "add" | "delay" | "fail" | "pass"; ms: number };

test("property: whatever happens, no key runs twice at once, every change is seen by a later run, and nothing is kept at the end", async () => {
  await assert(
    asyncProperty(
      array(
        record<Step>({
          key: constantFrom("a", "b", "c"),
          act: oneof(constantFrom<Step["act"]>("add", "delay", "fail", "pass")),
          ms: integer({ min: 0, max: 50 }),
        }),
        { maxLength: 60 },
      ),
      async (steps) => {
        const changes = new Map<string, number>();
        const seen = new Map<string, number>();
        const running = new Set<string>();
        const failing = new Set<string>();
        const reconciler = createReconciler({
          name: "test",
          concurrency: 2,
          random: () => 0.5,
          reconcile: async (key): Promise<Outcome> => {
            expect(running.has(key)).toBe(false);
            running.add(key);
            const now = changes.get(key) ?? 0;
            await new Promise((resolve) => setTimeout(resolve, 3));
            running.delete(key);
            if (failing.has(key)) throw new Error("not now");
            seen.set(key, now);
            return done;
          },
        });
        reconciler.start();
        for (const { key, act, ms } of steps) {
          if (act === "fail") failing.add(key);
          if (act === "pass") failing.delete(key);
          changes.set(key, (changes.get(key) ?? 0) + 1);
          if (act === "delay") reconciler.queue.addAfter(key, ms);
          else reconciler.queue.add(key);
          await vi.advanceTimersByTimeAsync(ms);
        }
        failing.clear();
        await vi.advanceTimersByTimeAsync(300_000);
        expect(Object.fromEntries(seen)).toEqual(Object.fromEntries(changes));
        expect(reconciler.stats()).toMatchObject({ depth: 0, running: 0 });
        await reconciler.stop();
      },
    ),
    { numRuns: 60 },
  );
});

test("outcomes: after comes again, terminal waits for a change, a throw comes again later; stop aborts and waits", async () => {
  const outcomes: Outcome[] = [after(100), terminal(new Error("no use")), done];
  const errors: (number | undefined)[] = [];
  let runs = 0;
  const reconciler = createReconciler({
    name: "test",
    random: () => 1,
    backoff: { baseMs: 40, maxMs: 40 },
    reconcile: () => {
      const outcome = outcomes[runs++];
      return outcome ? Promise.resolve(outcome) : Promise.reject(new Error("thrown"));
    },
    onError: (_key, _error, retryInMs) => void errors.push(retryInMs),
  });
  reconciler.queue.add("a");
  reconciler.start();
  await vi.advanceTimersByTimeAsync(0);
  expect(runs).toBe(1);
  await vi.advanceTimersByTimeAsync(100);
  expect(runs).toBe(2);
  await vi.advanceTimersByTimeAsync(100_000);
  expect(runs).toBe(2);
  reconciler.queue.add("a");
  await vi.advanceTimersByTimeAsync(0);
  reconciler.queue.add("a");
  await vi.advanceTimersByTimeAsync(0);
  expect(runs).toBe(4);
  expect(errors).toEqual([undefined, 40]);
  await vi.advanceTimersByTimeAsync(40);
  expect(runs).toBe(5);
  await reconciler.stop();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(runs).toBe(5);
});
