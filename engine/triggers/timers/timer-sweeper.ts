import type { Log } from "../../../net/log.ts";
import { type DueTimer, type Fire, type FireJournal, PARTITIONS } from "./fire-journal.ts";

/**
 * Finds times that come due and fires that were left open by the journal alone: nothing in this process decides what is due.
 *
 * Invariants
 * 1. Each partition is looked at every `intervalMs` at least, also while others have a backlog, and after errors.
 * 2. What comes due before the next look is looked for when it does.
 * 3. One look at a partition at a time; who finds it busy makes it look again.
 */
export interface TimerSweeper {
  /** Something has changed: looks at all partitions soon. */
  nudge(): void;
  close(): Promise<void>;
}

export interface SweeperOptions {
  readonly journal: Pick<FireJournal, "look">;
  readonly log: Log;
  readonly intervalMs: number;
  /** Resolve once it was decided what becomes of it; `nowMs` is the store's. */
  readonly onDue: (timer: DueTimer, nowMs: number) => Promise<void>;
  readonly onLeft: (fire: Fire) => Promise<void>;
  /** Comes due within what is looked at. */
  readonly onSoon: (timer: DueTimer) => void;
  /** How far to look. */
  readonly within: (partition: number) => { readonly aheadMs: number; readonly leftMs: number };
}

const LIMIT = 1_000;
const NUDGE_MS = 20;

interface Partition {
  busy: boolean;
  again: boolean;
  timer?: NodeJS.Timeout;
}

export function timerSweeper(options: SweeperOptions): TimerSweeper {
  const { journal, log, intervalMs } = options;
  const partitions: Partition[] = Array.from({ length: PARTITIONS }, () => ({ busy: false, again: false }));
  const running = new Set<Promise<void>>();
  let closed = false;
  let failing = false;
  let nudged: NodeJS.Timeout | undefined;

  const sweep = async (index: number): Promise<void> => {
    const { nowMs, timers, left } = await journal.look(index, options.within(index), LIMIT);
    const due = timers.filter(({ inMs }) => inMs <= 0);
    const soon = timers.filter(({ inMs }) => inMs > 0);
    for (const timer of soon) options.onSoon(timer);
    const first = Math.min(...soon.map(({ inMs }) => inMs));
    if (first <= intervalMs) arm(index, first);
    await Promise.all([...due.map((timer) => options.onDue(timer, nowMs)), ...left.map(options.onLeft)]);
    if (due.length === LIMIT || left.length === LIMIT) arm(index, NUDGE_MS);
  };

  const arm = (index: number, inMs: number): void => {
    const partition = partitions[index];
    if (!partition || closed) return;
    clearTimeout(partition.timer);
    partition.timer = setTimeout(() => look(index), inMs);
  };

  const watched = async (index: number): Promise<void> => {
    try {
      await sweep(index);
      if (failing) log.info("Timers that are due are found again");
      failing = false;
    } catch (error) {
      if (!failing) log.warn("Cannot look for timers that are due; tried again with every sweep", { error });
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
  const lookAll = (): void => {
    for (let index = 0; index < PARTITIONS; index++) look(index);
  };
  const interval = setInterval(lookAll, intervalMs);
  lookAll();
  return {
    nudge: () => {
      nudged ??= setTimeout(() => {
        nudged = undefined;
        lookAll();
      }, NUDGE_MS);
    },
    close: async () => {
      closed = true;
      clearInterval(interval);
      clearTimeout(nudged);
      for (const { timer } of partitions) clearTimeout(timer);
      await Promise.allSettled(running);
    },
  };
}
