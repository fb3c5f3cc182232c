/** Timers that all end when their owner closes. */
export interface Timers {
  readonly later: (delayMs: number, run: () => void) => void;
  readonly close: () => void;
}

export function createTimers(): Timers {
  const timers = new Set<NodeJS.Timeout>();
  let closed = false;
  return {
    later: (delayMs, run) => {
      if (closed) return;
      const timer = setTimeout(() => {
        timers.delete(timer);
        run();
      }, delayMs);
      timers.add(timer);
    },
    close: () => {
      closed = true;
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
