import type { Log } from "../../net/log.ts";
import { regularly } from "../../net/regularly.ts";
import { type ReferencingObjects, referencedDigests } from "./archive-references.ts";
import type { ArchiveStore } from "./archive-store.ts";

/*
 * Deletes archives that nothing names. Invariants:
 * 1. What names archives is listed AFTER the archives, from the API server itself; if that fails, nothing is deleted.
 * 2. An archive goes only if it was uploaded longer ago than the grace time AND was seen without a name for as long:
 *    an upload whose Package is not there yet, and a Package that comes back, lose nothing.
 * 3. The store decides last: an upload of the same content since then keeps it (`ArchiveStore.remove`).
 */

export interface PrunerOptions {
  readonly store: ArchiveStore;
  /** Lists everything that may name an archive, fresh from the API server. */
  readonly listReferences: () => Promise<ReferencingObjects>;
  readonly graceMs: number;
  readonly log: Log;
  readonly now?: () => number;
}

export interface Pruner {
  /** One pass; returns the digests of deleted archives. */
  prune(): Promise<string[]>;
}

export const PRUNE_DEFAULTS = { graceMs: 3_600_000, intervalMs: 3_600_000 } as const;

export function archivePruner(options: PrunerOptions): Pruner {
  const now = options.now ?? Date.now;
  const namelessSince = new Map<string, number>();
  return {
    prune: async () => {
      const startedAt = now();
      const archives = await options.store.list();
      const named = referencedDigests(await options.listReferences());
      const present = new Set(archives.map(({ digest }) => digest));
      for (const digest of namelessSince.keys()) {
        if (named.has(digest) || !present.has(digest)) namelessSince.delete(digest);
      }
      const removed: string[] = [];
      for (const { digest } of archives) {
        if (named.has(digest)) continue;
        const since = namelessSince.get(digest) ?? startedAt;
        namelessSince.set(digest, since);
        if (startedAt - since < options.graceMs) continue;
        // `<` in the store: with no grace at all, an upload of this very millisecond still stays.
        if (await options.store.remove(digest, startedAt - options.graceMs)) {
          removed.push(digest);
          namelessSince.delete(digest);
        }
      }
      if (removed.length > 0)
        options.log.info("deleted archives that nothing names", { count: removed.length });
      return removed;
    },
  };
}

/** Prunes again and again until `signal` is aborted. A failing pass is logged and changes nothing. */
export const pruneRegularly = (
  pruner: Pruner,
  intervalMs: number,
  log: Log,
  signal: AbortSignal,
): Promise<void> =>
  regularly(
    { everyMs: intervalMs, signal },
    () => pruner.prune(),
    (error) => log.warn("cannot look for archives that nothing names", { error }),
  );
