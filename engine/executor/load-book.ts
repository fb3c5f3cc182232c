import { LOAD_SILENCE_MS, type LoadReport } from "../../api/wire/load.ts";
import { revisionKey } from "./revision.ts";

/** What all routers together have to do. */
export interface Load {
  /** Requests in pods or waiting for one. */
  readonly concurrency: number;
  readonly requestsPerSecond: number;
}

/** The latest report of each router, by revision. A router that is silent counts as one without load. */
export interface LoadBook {
  readonly record: (report: LoadReport) => void;
  /** Load of a revision (`revisionKey`); undefined when no router ever named it. */
  readonly of: (revision: string) => Load | undefined;
  /** When a request of the revision was seen last, in the clock of `now`; undefined = never. */
  readonly lastActiveMs: (revision: string) => number | undefined;
  readonly forget: (revision: string) => void;
}

interface Entry {
  readonly routers: Map<string, Load & { readonly atMs: number }>;
  lastActiveMs: number | undefined;
}

/** Revisions that are remembered; more than a cluster has. */
const MAX_REVISIONS = 100_000;

export function createLoadBook(now: () => number): LoadBook {
  const entries = new Map<string, Entry>();

  const record = ({ router, windowMs, revisions }: LoadReport) => {
    const atMs = now();
    for (const { uid, revision, concurrency, requests } of revisions) {
      const key = revisionKey(uid, revision);
      let entry = entries.get(key);
      if (!entry) {
        if (entries.size >= MAX_REVISIONS) continue;
        entries.set(key, (entry = { routers: new Map(), lastActiveMs: undefined }));
      }
      if (concurrency > 0 || requests > 0) {
        entry.routers.set(router, { concurrency, requestsPerSecond: (requests * 1_000) / windowMs, atMs });
        entry.lastActiveMs = atMs;
      } else entry.routers.delete(router);
    }
  };

  return {
    record,
    of: (revision) => {
      const entry = entries.get(revision);
      if (!entry) return undefined;
      const oldestMs = now() - LOAD_SILENCE_MS;
      let concurrency = 0;
      let requestsPerSecond = 0;
      for (const [router, load] of entry.routers) {
        if (load.atMs < oldestMs) entry.routers.delete(router);
        else {
          concurrency += load.concurrency;
          requestsPerSecond += load.requestsPerSecond;
        }
      }
      return { concurrency, requestsPerSecond };
    },
    lastActiveMs: (revision) => entries.get(revision)?.lastActiveMs,
    forget: (revision) => void entries.delete(revision),
  };
}
