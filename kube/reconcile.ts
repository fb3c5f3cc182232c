/**
 * Runs a reconcile function over the keys of a work queue.
 *
 * Invariants
 * R1. The function sees a key, never the event that brought it: it reads the world and moves it towards what is wanted.
 * R2. Its outcome is closed: done, look again after a time, or terminal (wait for a change). A throw means: again, with back-off.
 * R3. After `stop`, no new key is begun; running ones get an aborted signal and are waited for.
 */
import { createWorkQueue, type WorkQueue, type WorkQueueOptions } from "./work-queue.ts";

export type Outcome =
  | { readonly kind: "done" }
  | { readonly kind: "after"; readonly delayMs: number }
  | { readonly kind: "terminal"; readonly error: unknown };

/** The world is as wanted; wait for the next change. */
export const done: Outcome = { kind: "done" };
/** Look again after `delayMs` even if nothing changes. */
export function after(delayMs: number): Outcome {
  return { kind: "after", delayMs };
}
/** Trying again is useless until something changes. */
export function terminal(error: unknown): Outcome {
  return { kind: "terminal", error };
}

export type Reconcile = (key: string, signal: AbortSignal) => Promise<Outcome>;

export interface ReconcilerOptions extends WorkQueueOptions {
  name: string;
  reconcile: Reconcile;
  /** Keys worked on at the same time. Default 4. */
  concurrency?: number;
  /** Told of throws (with the delay until the next try) and of terminal outcomes. */
  onError?: (key: string, error: unknown, retryInMs: number | undefined) => void;
}

export interface ReconcilerStats {
  readonly name: string;
  readonly depth: number;
  readonly running: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly terminal: number;
}

export interface Reconciler {
  readonly queue: Pick<WorkQueue, "add" | "addAfter" | "depth">;
  /** Begins to work; keys added before are kept. */
  start(): void;
  stop(): Promise<void>;
  stats(): ReconcilerStats;
}

export function createReconciler(options: ReconcilerOptions): Reconciler {
  const queue = createWorkQueue(options);
  const stopping = new AbortController();
  const counts = { running: 0, succeeded: 0, failed: 0, terminal: 0 };
  let workers: Promise<void>[] = [];

  const settle = (key: string, outcome: Outcome) => {
    queue.forget(key);
    if (outcome.kind === "after") queue.addAfter(key, outcome.delayMs);
    if (outcome.kind === "terminal") {
      counts.terminal++;
      options.onError?.(key, outcome.error, undefined);
    } else {
      counts.succeeded++;
    }
  };

  const work = async (): Promise<void> => {
    for (let key = await queue.take(); key !== undefined; key = await queue.take()) {
      counts.running++;
      try {
        settle(key, await options.reconcile(key, stopping.signal));
      } catch (error) {
        if (!stopping.signal.aborted) {
          counts.failed++;
          const retryInMs = queue.addRateLimited(key);
          options.onError?.(key, error, retryInMs);
        }
      } finally {
        counts.running--;
        queue.done(key);
      }
    }
  };

  return {
    queue,
    start: () => {
      if (workers.length === 0) workers = Array.from({ length: options.concurrency ?? 4 }, work);
    },
    stop: async () => {
      stopping.abort();
      queue.shutDown();
      await Promise.all(workers);
    },
    stats: () => ({ name: options.name, depth: queue.depth, ...counts }),
  };
}
