/**
 * Works on messages side by side, but one after the other within a lane.
 *
 * Invariants
 * L1. Of a lane, one piece of work runs or waits for its next try at a time; the others follow in the order in which they were added.
 * L2. At most `concurrency` pieces run. One that waits for its next try takes no room.
 * L3. Lanes take turns: one with a thousand pieces does not keep the others waiting.
 * L4. After `stop`, nothing is begun any more; nothing is kept of a lane without work.
 */

/** Runs once; gives the milliseconds until it is to run again, or undefined when it is done with. Must not reject. */
export type Work = () => Promise<number | undefined>;

export interface Lanes {
  /** @param lane undefined = a lane of its own */
  add(lane: string | undefined, work: Work): void;
  /** If it waits for its next try, it runs now. */
  hurry(work: Work): void;
  /** Pieces that run now, and those that are there at all. */
  readonly running: number;
  readonly held: number;
  /** Begins nothing more. Resolves when nothing runs any more. */
  stop(): Promise<void>;
}

interface Lane {
  readonly work: Work[];
}

export function createLanes(concurrency: number): Lanes {
  const lanes = new Map<string, Lane>();
  const ready: (() => void)[] = [];
  const waits = new Map<Work, { timer: NodeJS.Timeout; run: () => void }>();
  let running = 0;
  let held = 0;
  let stopped: PromiseWithResolvers<void> | undefined;

  const pump = (): void => {
    if (stopped) return;
    while (running < concurrency) {
      const begin = ready.shift();
      if (!begin) return;
      running++;
      begin();
    }
  };
  const run = async (lane: Lane, onEmpty: () => void): Promise<void> => {
    const [work] = lane.work;
    const againInMs = await work?.();
    running--;
    if (againInMs === undefined || !work) {
      lane.work.shift();
      held--;
      if (lane.work.length === 0) onEmpty();
      else enqueue(lane, onEmpty);
    } else if (!stopped) {
      const again = (): void => {
        waits.delete(work);
        enqueue(lane, onEmpty);
        pump();
      };
      waits.set(work, { timer: setTimeout(again, againInMs), run: again });
    }
    if (stopped && running === 0) stopped.resolve();
    pump();
  };
  const enqueue = (lane: Lane, onEmpty: () => void): void => {
    ready.push(() => void run(lane, onEmpty));
  };

  return {
    add: (name, work) => {
      held++;
      const known = name === undefined ? undefined : lanes.get(name);
      if (known) {
        known.work.push(work);
        return;
      }
      const lane: Lane = { work: [work] };
      if (name !== undefined) lanes.set(name, lane);
      enqueue(lane, () => {
        if (name !== undefined) lanes.delete(name);
      });
      pump();
    },
    hurry: (work) => {
      const wait = waits.get(work);
      clearTimeout(wait?.timer);
      wait?.run();
    },
    get running() {
      return running;
    },
    get held() {
      return held;
    },
    stop: () => {
      stopped ??= Promise.withResolvers();
      for (const { timer } of waits.values()) clearTimeout(timer);
      waits.clear();
      ready.length = 0;
      if (running === 0) stopped.resolve();
      return stopped.promise;
    },
  };
}
