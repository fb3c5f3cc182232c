import type { InvocationJournal } from "./journal.ts";
import type { Spills } from "./spills.ts";

/** Bodies of which it is not known whether a record names them: Redis was lost, or silent, when it was to be written. */
export interface Orphans {
  suspect(id: string, spill: string): void;
  /** Removes those of some time ago that no record names. What this process forgets at its end goes by its time. */
  check(): Promise<void>;
}

/** What was sent to a Redis that hangs may still be done when it goes on. */
const UNCLEAR_MS = 60_000;
const MAX_SUSPECTED = 10_000;

export function orphans(
  journal: Pick<InvocationJournal, "get">,
  spills: Pick<Spills, "remove">,
  now: () => number = Date.now,
): Orphans {
  const suspected = new Map<string, { readonly id: string; readonly at: number }>();
  return {
    suspect: (id, spill) => {
      if (suspected.size < MAX_SUSPECTED) suspected.set(spill, { id, at: now() });
    },
    check: async () => {
      for (const [spill, { id, at }] of suspected) {
        if (now() - at < UNCLEAR_MS) return;
        if ((await journal.get(id))?.spill !== spill) await spills.remove(spill);
        suspected.delete(spill);
      }
    },
  };
}
