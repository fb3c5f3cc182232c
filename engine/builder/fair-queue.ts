/** Runs work, at most so much at once, taking turns between owners: a namespace with a hundred builds does not hold up one with one. */
export interface FairQueue {
  /** Runs `work` when its turn comes. An abort while it waits rejects with the signal's reason. */
  run<T>(owner: string, signal: AbortSignal, work: () => Promise<T>): Promise<T>;
  readonly waiting: number;
}

export function fairQueue(maxRunning: number): FairQueue {
  // Insertion order is the order of turns: an owner that got one goes to the end.
  const owners = new Map<string, (() => void)[]>();
  let running = 0;
  let waiting = 0;

  const next = (): void => {
    while (running < maxRunning) {
      const [first] = owners;
      if (!first) return;
      const [owner, starts] = first;
      owners.delete(owner);
      const start = starts.shift();
      if (starts.length > 0) owners.set(owner, starts);
      if (!start) continue;
      running += 1;
      waiting -= 1;
      start();
    }
  };

  const turn = (owner: string, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const starts = owners.get(owner) ?? [];
      const start = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = (): void => {
        const at = starts.indexOf(start);
        if (at < 0) return;
        starts.splice(at, 1);
        if (starts.length === 0 && owners.get(owner) === starts) owners.delete(owner);
        waiting -= 1;
        reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
      };
      if (signal.aborted)
        return reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
      signal.addEventListener("abort", leave, { once: true });
      starts.push(start);
      owners.set(owner, starts);
      waiting += 1;
      next();
    });

  return {
    run: async (owner, signal, work) => {
      await turn(owner, signal);
      try {
        return await work();
      } finally {
        running -= 1;
        next();
      }
    },
    get waiting() {
      return waiting;
    },
  };
}
