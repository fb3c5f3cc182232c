import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { makeKeyedQueue } from "./keyed-queue.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("works on a key once at a time and once more when it was added meanwhile", async () => {
  const log: string[] = [];
  const release: (() => void)[] = [];
  const queue = makeKeyedQueue(
    (key) => {
      log.push(key);
      return new Promise((resolve) => release.push(() => resolve(undefined)));
    },
    () => {},
  );
  for (const key of ["a", "a", "b", "a"]) queue.add(key);
  expect(log).toEqual(["a", "b"]);
  release[0]?.();
  await vi.advanceTimersByTimeAsync(0);
  expect(log).toEqual(["a", "b", "a"]);
  release[2]?.();
  await vi.advanceTimersByTimeAsync(0);
  expect(log).toEqual(["a", "b", "a"]);
});

it("tries again later each time, and looks again when asked to", async () => {
  const at: number[] = [];
  const startMs = Date.now();
  const queue = makeKeyedQueue(
    () => {
      at.push(Date.now() - startMs);
      return at.length <= 3
        ? Promise.reject(new Error("no"))
        : Promise.resolve(at.length === 4 ? 1000 : undefined);
    },
    () => {},
  );
  queue.add("a");
  await vi.advanceTimersByTimeAsync(10_000);
  expect(at).toEqual([0, 20, 60, 140, 1140]);
});

it("stops", async () => {
  let count = 0;
  const queue = makeKeyedQueue(
    () => {
      count += 1;
      return Promise.resolve(10);
    },
    () => {},
  );
  queue.add("a");
  await queue.stop();
  queue.add("b");
  await vi.advanceTimersByTimeAsync(1000);
  expect(count).toBe(1);
});
