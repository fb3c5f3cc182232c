import type { Log } from "../../net/log.ts";
import type { RunKey } from "../core/run-record.ts";
import { type Journal, PARTITIONS } from "../journal/journal.ts";
import { partitionOf } from "../journal/partition.ts";
import type { RunTaker } from "./run-taker.ts";
import type { StoreClock } from "./store-clock.ts";

/**
 * Finds runs that have something to do by the journal alone, so that no lost job, nudge or worker can lose a run.
 *
 * Invariants:
 * 1. Each partition is looked at every `intervalMs` at least, also while others have a backlog, and after errors.
 * 2. What comes due within the interval after a look is looked for when it does: the journal decides by its own clock, so never early.
 * 3. One look at a partition at a time; who finds it busy makes it look again.
 */
export interface Sweeper {
  /** A run will have something to do at this time (store's clock): only a hint, the next sweep would find it too. */
  expect(key: RunKey, dueAt: number): void;
  close(): Promise<void>;
}

export interface SweeperOptions {
  readonly journal: Pick<Journal, "due">;
  readonly clock: StoreClock;
  readonly taker: Pick<RunTaker, "take">;
  readonly log: Log;
  /** Default 1,000. */
  readonly intervalMs?: number;
  /** Runs of a partition that are taken at once; default 32. */
  readonly batch?: number;
}

interface Partition {
  busy: boolean;
  again: boolean;
  timer?: NodeJS.Timeout;
  /** What the timer waits for: store's clock. */
  dueAt: number;
}

export function sweeper(options: SweeperOptions): Sweeper {
  const { journal, clock, taker, log } = options;
  const intervalMs = options.intervalMs ?? 1_000;
  const batch = options.batch ?? 32;
  const partitions: Partition[] = Array.from({ length: PARTITIONS }, () => ({
    busy: false,
    again: false,
    dueAt: Infinity,
  }));
  const running = new Set<Promise<void>>();
  let closed = false;
  let failing = false;

  const arm = (index: number, dueAt: number): void => {
    const partition = partitions[index];
    if (!partition || closed || dueAt >= partition.dueAt) return;
    const inMs = dueAt - clock.now();
    // Later than that, the next sweep arms it.
    if (inMs > 2 * intervalMs) return;
    clearTimeout(partition.timer);
    partition.dueAt = dueAt;
    partition.timer = setTimeout(
      () => {
        partition.dueAt = Infinity;
        look(index);
      },
      Math.max(0, inMs),
    );
  };

  /** Takes what is due in a partition until nothing is left that can be taken. */
  const drain = async (index: number): Promise<void> => {
    for (;;) {
      const { runs, nextAt } = await journal.due(index, batch);
      const taken = await Promise.all(runs.map((key) => taker.take(key)));
      if (runs.length < batch && nextAt !== undefined) arm(index, nextAt);
      if (closed || runs.length < batch || !taken.includes(true)) return;
    }
  };

  const watched = async (index: number): Promise<void> => {
    try {
      await drain(index);
      if (failing) log.info("Runs that are due are found again");
      failing = false;
    } catch (error) {
      if (!failing) log.warn("Cannot look for runs that are due; tried again with every sweep", { error });
      failing = true;
    }
  };

  const look = (index: number): void => {
    const partition = partitions[index];
    if (!partition || closed) return;
    if (partition.busy) {
      partition.again = true;
      return;
    }
    partition.busy = true;
    const work = watched(index).finally(() => {
      running.delete(work);
      partition.busy = false;
      if (!partition.again) return;
      partition.again = false;
      look(index);
    });
    running.add(work);
  };

  const sweep = (): void => {
    clock.sync().catch(() => undefined);
    for (let index = 0; index < PARTITIONS; index++) look(index);
  };
  const interval = setInterval(sweep, intervalMs);
  sweep();
  return {
    expect: (key, dueAt) => arm(partitionOf(key), dueAt),
    close: async () => {
      closed = true;
      clearInterval(interval);
      for (const { timer } of partitions) clearTimeout(timer);
      await Promise.allSettled(running);
    },
  };
}
