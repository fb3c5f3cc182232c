import type { Log } from "../../net/log.ts";
import type { RunKey } from "../core/run-record.ts";
import { type StoreClock, storeClock } from "../queue/store-clock.ts";
import { redisWakeUps } from "../queue/wake-ups.ts";
import type { WorkerClock, WorkerPorts } from "./ports.ts";
import { runWorker, WORKER_DEFAULTS } from "./run-worker.ts";

/*
 * One worker with what brings runs to it. Invariants:
 * 1. It begins once the store answers, however long that takes, and never keeps its process from answering.
 * 2. What is woken here is driven here if there is room; what is not finds another worker by the queue or the sweeper.
 */

export interface EngineOptions extends Omit<WorkerPorts, "clock" | "random" | "onFault" | "onParked"> {
  /** Unique, also among earlier lives of this process. */
  readonly name: string;
  readonly redisUrl: string;
  readonly log: Log;
  /** Ends the wait for the store. */
  readonly signal: AbortSignal;
}

export interface Engine {
  /** A run has something to do. `owner`: who holds it. */
  wake(key: RunKey, owner?: string): void;
  /** The store's clock. */
  now(): number;
  held(): number;
  stop(graceMs: number): Promise<void>;
}

const RETRY_MS = 500;
/** Longest delay that Node's timers take is 2^31 − 1 ms; a look in between costs nothing. */
const MAX_DELAY_MS = 3_600_000;

export async function startEngine(options: EngineOptions): Promise<Engine> {
  const { journal, log, name, signal } = options;
  const clock = await patiently(() => storeClock(journal), signal);
  const wakeUps = redisWakeUps({ url: options.redisUrl, journal, clock, worker: name, log });
  const worker = runWorker(
    { ...WORKER_DEFAULTS, name },
    {
      ...options,
      clock: workerClock(clock),
      random: Math.random,
      onParked: (key, dueAt) => {
        if (dueAt !== undefined) wakeUps.expect(key, dueAt);
      },
      onFault: (key, what, error) =>
        log.warn("A fault while a run was worked on; it is tried again", {
          run: `${key.namespace}/${key.id}`,
          what,
          error,
        }),
    },
  );
  wakeUps.start(worker);
  log.info("Works on runs", { worker: name });
  const takeHere = async (key: RunKey): Promise<void> => {
    if (!(await worker.take(key))) await wakeUps.wake(key);
  };
  return {
    wake: (key, owner) => {
      if (owner === name) worker.nudge(key);
      else if (owner !== undefined) void wakeUps.wake(key, owner);
      else void takeHere(key);
    },
    now: () => clock.now(),
    held: () => worker.held(),
    stop: async (graceMs) => {
      const closing = wakeUps.close();
      await worker.stop(graceMs);
      await closing;
    },
  };
}

export function callAfter(delayMs: number, call: () => void): () => void {
  const handle = setTimeout(call, Math.min(delayMs, MAX_DELAY_MS));
  return () => clearTimeout(handle);
}

const workerClock = (clock: StoreClock): WorkerClock => ({
  now: () => clock.now(),
  passed: () => clock.passed(),
  after: callAfter,
});

async function patiently<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return await act();
    } catch {
      // Whoever calls the service is told what is missing; the log has it from the connection.
      await new Promise((go) => setTimeout(go, RETRY_MS));
    }
  }
}
