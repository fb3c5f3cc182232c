/** Runs reads ahead of need, a few at a time, the newest first; failures are left to the call that needs the result. */
export interface Prefetcher {
  add(read: () => Promise<unknown>): void;
  close(): void;
}

const PARALLEL = 2;
/** More than that wait when a whole cluster's functions appear at once; the oldest are left out. */
const MAX_WAITING = 1_000;

export function createPrefetcher(): Prefetcher {
  const waiting: (() => Promise<unknown>)[] = [];
  let running = 0;
  const next = (): void => {
    const read = running < PARALLEL ? waiting.pop() : undefined;
    if (!read) return;
    running += 1;
    read()
      .catch(() => undefined)
      .finally(() => {
        running -= 1;
        next();
      });
    next();
  };
  return {
    add: (read) => {
      waiting.push(read);
      if (waiting.length > MAX_WAITING) waiting.shift();
      next();
    },
    close: () => void waiting.splice(0),
  };
}
