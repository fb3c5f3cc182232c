import type { RunKey } from "../core/run-record.ts";
import type { Journal } from "../journal/journal.ts";

/** Tells who waits for a run in this process that it may have changed; what changes elsewhere is found by looking again. */
export interface RunChanges {
  /** The same journal, which tells of commits. */
  readonly journal: Journal;
  /** Resolves at the next change that this process makes, after `atMostMs`, or when `signal` aborts. */
  next(key: RunKey, atMostMs: number, signal?: AbortSignal): Promise<void>;
}

export function runChanges(journal: Journal): RunChanges {
  const waiting = new Map<string, Set<() => void>>();
  const changed = ({ namespace, id }: RunKey): void => {
    for (const wake of waiting.get(`${namespace}/${id}`) ?? []) wake();
  };
  return {
    journal: {
      ...journal,
      commit: async (lease, commit) => {
        const result = await journal.commit(lease, commit);
        if (result.kind === "committed") changed(lease.key);
        return result;
      },
    },
    next: (key, atMostMs, signal) =>
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
