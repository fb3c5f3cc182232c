import type { RunKey } from "../core/run-record.ts";
import type { Journal } from "../journal/journal.ts";

/** Tells who waits for a run in this process that it may have changed; what changes elsewhere is found by looking again. */
export interface RunChanges {
  /** The same journal, which tells of commits. */
  readonly journal: Journal;
  /** Resolves at the next change that this process makes, after `atMostMs`, or when `signal` aborts. */
  next(key: RunKey, atMostMs: number, signal?: AbortSignal): Promise<void>;
  /** The same, at the run's end only: who waits for that need not read the run after each step. */
  end(key: RunKey, atMostMs: number, signal?: AbortSignal): Promise<void>;
}

export function runChanges(journal: Journal): RunChanges {
  const changes = waiters();
  const ends = waiters();
  return {
    journal: {
      ...journal,
      commit: async (lease, commit) => {
        const result = await journal.commit(lease, commit);
        if (result.kind === "committed") {
          changes.wake(lease.key);
          if (commit.record.status !== "running") ends.wake(lease.key);
        }
        return result;
      },
    },
    next: changes.wait,
    end: ends.wait,
  };
}

function waiters(): { wake: (key: RunKey) => void; wait: RunChanges["next"] } {
  const waiting = new Map<string, Set<() => void>>();
  return {
    wake: ({ namespace, id }) => {
      for (const wake of waiting.get(`${namespace}/${id}`) ?? []) wake();
    },
    wait: (key, atMostMs, signal) =>
      new Promise((resolve) => {
        const name = `${key.namespace}/${key.id}`;
        const set = waiting.get(name) ?? new Set<() => void>();
        waiting.set(name, set);
        const wake = (): void => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", wake);
          set.delete(wake);
          if (set.size === 0 && waiting.get(name) === set) waiting.delete(name);
          resolve();
        };
        const timer = setTimeout(wake, atMostMs);
        signal?.addEventListener("abort", wake);
        set.add(wake);
        if (signal?.aborted) wake();
      }),
  };
}
