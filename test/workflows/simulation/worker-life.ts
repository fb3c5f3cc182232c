import type { JournalCall } from "../../../workflows/journal/memory-journal.ts";
import type { Scheduler } from "./scheduler.ts";

/** How often what happens, per chance that it has: 0..1. */
export interface Faults {
  readonly crash: number;
  readonly pause: number;
  readonly lostConnection: number;
  readonly lostWakeUp: number;
  readonly duplicate: number;
  readonly lostAnswer: number;
  readonly hostAway: number;
}

export const NO_FAULTS: Faults = {
  crash: 0,
  pause: 0,
  lostConnection: 0,
  lostWakeUp: 0,
  duplicate: 0,
  lostAnswer: 0,
  hostAway: 0,
};

/**
 * A worker's process: may die between any two things that it does (then nothing of it ever goes on), or stand still for longer than its leases (then all of it goes on
 * later, as after SIGSTOP).
 */
export interface WorkerLife {
  readonly name: string;
  alive(): boolean;
  kill(): void;
  after(delayMs: number, run: () => void): () => void;
  /** A moment at which something may happen to the process; `point` names it in the count of crashes. */
  pass(point: string, delayMs: number): Promise<void>;
  onJournalCall(call: JournalCall): Promise<void>;
}

const MAX_PAUSE_MS = 25_000;

export function workerLife(
  name: string,
  time: Scheduler,
  faults: Faults,
  count: (what: string) => void,
  onDeath: () => void,
): WorkerLife {
  let alive = true;
  let pausedUntil = 0;
  const after = (delayMs: number, run: () => void): (() => void) => {
    let cancel = (): void => {};
    const go = (): void => {
      if (!alive) return;
      if (pausedUntil > time.now()) cancel = time.after(pausedUntil - time.now(), go);
      else run();
    };
    cancel = time.after(delayMs, go);
    return () => cancel();
  };
  const kill = (): void => {
    if (!alive) return;
    alive = false;
    onDeath();
  };
  const pass = async (point: string, delayMs: number): Promise<void> => {
    await new Promise<void>((arrived) => after(delayMs, arrived));
    if (time.random() < faults.crash) {
      count(`crash ${point}`);
      kill();
    } else if (time.random() < faults.pause) {
      count(`pause ${point}`);
      pausedUntil = time.now() + time.random() * MAX_PAUSE_MS;
    } else return;
    await new Promise<void>((arrived) => after(0, arrived));
  };
  return {
    name,
    alive: () => alive,
    kill,
    after,
    pass,
    onJournalCall: async ({ operation, phase }) => {
      // Looking for work happens all the time and changes nothing: a process that dies at it dies between two things.
      if (operation === "due") return new Promise<void>((arrived) => void after(time.random() * 2, arrived));
      await pass(`${operation} ${phase}`, time.random() * 2);
      if (time.random() < faults.lostConnection) {
        count(`lost connection ${operation} ${phase}`);
        throw new Error(`connection lost ${phase} ${operation}`);
      }
    },
  };
}
