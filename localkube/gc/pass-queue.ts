export interface PassQueue {
  /** Visits the key soon; once, however often it is added before that. */
  add(key: string): void;
  stop(): void;
}

const KEYS_PER_TURN = 200;

/** Visits keys in later turns of the event loop, a bounded number each, so that requests get their share. */
export function passQueue(visit: (key: string) => void, log: (message: string) => void): PassQueue {
  const keys = new Set<string>();
  let scheduled = false;
  let stopped = false;
  const run = (): void => {
    scheduled = false;
    let left = KEYS_PER_TURN;
    for (const key of keys) {
      if (stopped || left-- === 0) break;
      keys.delete(key);
      try {
        visit(key);
      } catch (error) {
        log(`could not see to "${key}": ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    if (keys.size > 0) schedule();
  };
  const schedule = (): void => {
    if (scheduled || stopped) return;
    scheduled = true;
    setImmediate(run);
  };
  return {
    add: (key) => {
      keys.add(key);
      schedule();
    },
    stop: () => {
      stopped = true;
    },
  };
}
