import { setImmediate } from "node:timers/promises";
import type { WorkerClock } from "../worker/ports.ts";

/** Time that passes only when it is told to. */
export interface VirtualClock extends WorkerClock {
  /** Something happened: whoever waits for quiet waits on. */
  stir(): void;
  /** What is under way in real time, such as an asynchronous function of the test's; gives what ends it. */
  begin(): () => void;
  /** Calls back at a time, or at once when that has passed; a later call for the same name takes the place of an earlier one. */
  at(name: string, time: number | undefined, call: () => void): void;
  /** Resolves when nothing happens any more without time passing. */
  quiet(): Promise<void>;
  /** Lets time pass, with all that falls due. */
  advance(ms: number): Promise<void>;
}

/** Turns of the event loop without anything happening that count as quiet. */
const QUIET_TURNS = 4;
/** How long something under way is waited for in real time; then it counts as waiting for time to pass. */
const PATIENCE_MS = 50;

interface Due {
  readonly time: number;
  readonly call: () => void;
}

export function virtualClock(startAt: number): VirtualClock {
  let now = startAt;
  let stirred = 0;
  let underWay = 0;
  let nextId = 0;
  const due = new Map<string, Due>();
  const quiet = async (): Promise<void> => {
    let seen = stirred;
    let turns = 0;
    let since = performance.now();
    for (;;) {
      await setImmediate();
      if (stirred !== seen) {
        seen = stirred;
        turns = 0;
        since = performance.now();
        continue;
      }
      turns++;
      if (turns >= QUIET_TURNS && (underWay === 0 || performance.now() - since > PATIENCE_MS)) return;
    }
  };
  const first = (): [string, Due] | undefined =>
    [...due].reduce<[string, Due] | undefined>(
      (best, entry) => (best === undefined || entry[1].time < best[1].time ? entry : best),
      undefined,
    );
  const runUntil = async (end: number): Promise<void> => {
    for (;;) {
      await quiet();
      const next = first();
      if (!next || next[1].time > end) return;
      due.delete(next[0]);
      now = Math.max(now, next[1].time);
      stirred++;
      next[1].call();
    }
  };
  return {
    now: () => now,
    passed: () => now,
    after: (delayMs, call) => {
      const id = `timer ${nextId++}`;
      due.set(id, { time: now + delayMs, call });
      return () => void due.delete(id);
    },
    at: (name, time, call) => {
      if (time === undefined) due.delete(name);
      else due.set(name, { time: Math.max(time, now), call });
    },
    stir: () => void stirred++,
    begin: () => {
      underWay++;
      stirred++;
      return () => {
        underWay--;
        stirred++;
      };
    },
    quiet: () => runUntil(now),
    advance: async (ms) => {
      const end = now + ms;
      await runUntil(end);
      now = end;
    },
  };
}
