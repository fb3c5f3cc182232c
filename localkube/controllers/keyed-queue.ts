/**
 * 1. A key is worked on by one call at a time; a key added meanwhile is worked on once more.
 * 2. A key that fails comes back, later each time; one that succeeds starts afresh.
 * 3. Nothing of a key is kept once its work is done.
 */
const FIRST_RETRY_MS = 20;
const LAST_RETRY_MS = 30_000;

interface Entry {
  working: boolean;
  again: boolean;
  failures: number;
  timer: NodeJS.Timeout | undefined;
}

export interface KeyedQueue {
  add(key: string): void;
  /** Drops what is waiting and resolves when what is under way has ended. */
  stop(): Promise<void>;
}

/** `reconcile` may throw (it is told to `onError` and tried again) or return in how many milliseconds to look again. */
export function makeKeyedQueue(
  reconcile: (key: string) => Promise<number | undefined>,
  onError: (key: string, error: unknown) => void,
): KeyedQueue {
  const entries = new Map<string, Entry>();
  const underWay = new Set<Promise<void>>();
  let stopped = false;

  const work = async (key: string, entry: Entry): Promise<void> => {
    entry.working = true;
    entry.again = false;
    let lookAgainMs: number | undefined;
    try {
      lookAgainMs = await reconcile(key);
      entry.failures = 0;
    } catch (error) {
      onError(key, error);
      entry.failures += 1;
      lookAgainMs = Math.min(FIRST_RETRY_MS * 2 ** (entry.failures - 1), LAST_RETRY_MS);
    }
    entry.working = false;
    if (stopped) return;
    if (entry.again) begin(key, entry);
    else if (lookAgainMs !== undefined) entry.timer = setTimeout(() => begin(key, entry), lookAgainMs);
    else entries.delete(key);
  };
  const begin = (key: string, entry: Entry): void => {
    clearTimeout(entry.timer);
    entry.timer = undefined;
    const job = work(key, entry).finally(() => underWay.delete(job));
    underWay.add(job);
  };

  return {
    add(key) {
      if (stopped) return;
      const entry = entries.get(key);
      if (!entry) {
        const fresh: Entry = { working: false, again: false, failures: 0, timer: undefined };
        entries.set(key, fresh);
        begin(key, fresh);
      } else if (entry.working) entry.again = true;
      else begin(key, entry);
    },
    async stop() {
      stopped = true;
      for (const entry of entries.values()) clearTimeout(entry.timer);
      await Promise.all(underWay);
    },
  };
}
