/**
 * Keys that wait for work.
 *
 * Invariants
 * Q1. A key waits at most once, however often it is added.
 * Q2. No key is worked on twice at the same time.
 * Q3. A key added while it is worked on is handed out again afterwards: no change is lost.
 * Q4. A delayed key is handed out no earlier than its delay, and no later than the earliest delay asked for it.
 * Q5. Nothing is kept about a key that is neither waiting, delayed, worked on nor failing.
 */
import { backoffMs } from "./backoff.ts";

export interface WorkQueueOptions {
  backoff?: { baseMs: number; maxMs: number };
  random?: () => number;
}

export interface WorkQueue {
  add(key: string): void;
  addAfter(key: string, delayMs: number): void;
  /** Adds after the key's back-off, which grows with every call until `forget`. Gives the delay in milliseconds. */
  addRateLimited(key: string): number;
  forget(key: string): void;
  failures(key: string): number;
  /** The next key, or undefined once the queue is shut down. Each must be given back with `done`. */
  take(): Promise<string | undefined>;
  done(key: string): void;
  shutDown(): void;
  /** Keys that wait now, without the delayed ones. */
  readonly depth: number;
  /** Keys of which anything is kept. */
  readonly tracked: number;
}

const DEFAULT_BACKOFF = { baseMs: 25, maxMs: 60_000 };
/** setTimeout treats anything longer as 1 ms. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export function createWorkQueue(options: WorkQueueOptions = {}): WorkQueue {
  const waiting = new Set<string>();
  const working = new Set<string>();
  const again = new Set<string>();
  const failures = new Map<string, number>();
  const delayed = new Map<string, { timer: NodeJS.Timeout; dueAt: number }>();
  const takers: ((key: string | undefined) => void)[] = [];
  let closed = false;

  const add = (key: string) => {
    if (closed || waiting.has(key)) return;
    if (working.has(key)) {
      again.add(key);
      return;
    }
    const taker = takers.shift();
    if (taker) {
      working.add(key);
      taker(key);
    } else {
      waiting.add(key);
    }
  };

  const addAfter = (key: string, delayMs: number) => {
    if (closed) return;
    if (!(delayMs > 0)) return add(key);
    const dueAt = performance.now() + delayMs;
    const earlier = delayed.get(key);
    if (earlier && earlier.dueAt <= dueAt) return;
    if (earlier) clearTimeout(earlier.timer);
    const timer = setTimeout(
      () => {
        delayed.delete(key);
        add(key);
      },
      Math.min(delayMs, MAX_TIMER_MS),
    );
    delayed.set(key, { timer, dueAt });
  };

  return {
    add,
    addAfter,
    addRateLimited: (key) => {
      const count = (failures.get(key) ?? 0) + 1;
      failures.set(key, count);
      const delayMs = backoffMs(count, options.backoff ?? DEFAULT_BACKOFF, options.random);
      addAfter(key, delayMs);
      return delayMs;
    },
    forget: (key) => {
      failures.delete(key);
    },
    failures: (key) => failures.get(key) ?? 0,
    take: () => {
      if (closed) return Promise.resolve(undefined);
      for (const key of waiting) {
        waiting.delete(key);
        working.add(key);
        return Promise.resolve(key);
      }
      return new Promise((resolve) => takers.push(resolve));
    },
    done: (key) => {
      working.delete(key);
      if (again.delete(key)) add(key);
    },
    shutDown: () => {
      closed = true;
      for (const { timer } of delayed.values()) clearTimeout(timer);
      delayed.clear();
      waiting.clear();
      again.clear();
      for (const taker of takers.splice(0)) taker(undefined);
    },
    get depth() {
      return waiting.size;
    },
    get tracked() {
      return new Set([...waiting, ...working, ...again, ...delayed.keys(), ...failures.keys()]).size;
    },
  };
}
