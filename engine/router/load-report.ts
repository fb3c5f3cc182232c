import { z } from "zod";
import { type LoadReport, MAX_LOADS, type RevisionLoad } from "../../api/wire/load.ts";
import type { Log } from "../../net/log.ts";
import type { SignedClient } from "../../net/signed-client.ts";
import type { Revision } from "./revision.ts";

/**
 * Tells the executor what each revision has to do, from counters that the router keeps anyway: nothing is added to the path of requests.
 * A report that is lost is not sent again, since the next one is newer.
 */
export interface LoadReporter {
  /** Sends what happened since the call before; to be called about once a second. */
  report(): Promise<void>;
}

export interface LoadReporterDeps {
  /** Which process of a router this is. */
  readonly router: string;
  readonly client: Pick<SignedClient, "postJson">;
  readonly revisions: () => Iterable<Revision>;
  readonly log: Log;
  readonly now: () => number;
}

interface Totals {
  readonly busyMs: number;
  readonly requests: number;
}

const REPORT_TIMEOUT_MS = 2_000;

export function createLoadReporter(deps: LoadReporterDeps): LoadReporter {
  const { router } = deps;
  let before = new Map<Revision, Totals>();
  let loaded = new Set<Revision>();
  let sinceMs = deps.now();
  let sending = false;

  const collect = (windowMs: number): RevisionLoad[] => {
    const totals = new Map<Revision, Totals>();
    const busy = new Set<Revision>();
    const loads: RevisionLoad[] = [];
    for (const revision of deps.revisions()) {
      const now = totalsOf(revision);
      if (!now) continue;
      totals.set(revision, now);
      const load = loadOf(revision, now, before.get(revision), windowMs);
      if (load.concurrency > 0 || load.requests > 0) busy.add(revision);
      else if (!loaded.has(revision)) continue;
      loads.push(load);
    }
    before = totals;
    loaded = busy;
    return loads;
  };

  return {
    report: async () => {
      if (sending) return;
      const windowMs = deps.now() - sinceMs;
      if (windowMs <= 0) return;
      sinceMs = deps.now();
      const loads = collect(windowMs);
      sending = true;
      try {
        for (let at = 0; at < loads.length; at += MAX_LOADS) {
          const body: LoadReport = { router, windowMs, revisions: loads.slice(at, at + MAX_LOADS) };
          await deps.client.postJson("/v2/load", body, z.unknown(), { timeoutMs: REPORT_TIMEOUT_MS });
        }
      } catch (error) {
        deps.log.debug("Cannot report the load to the executor", { error });
      } finally {
        sending = false;
      }
    },
  };
}

/** Undefined when no function was bound to the revision yet. */
function totalsOf({ plan }: Revision): Totals | undefined {
  if (!plan) return undefined;
  const { counts, sum } = plan.stats.latencyMs;
  let requests = 0;
  for (const count of counts) requests += count;
  return { busyMs: sum, requests };
}

/**
 * By Little's law the time that requests took, per time that passed, is their number at once; those under way are seen at the end.
 * Told is how many of them are worth a slot: on a busy machine the queue of a fast function would ask for pods that take time from those
 * there are.
 */
function loadOf(revision: Revision, now: Totals, before: Totals | undefined, windowMs: number): RevisionLoad {
  const since = before ?? { busyMs: 0, requests: 0 };
  const present = revision.inFlight + revision.queue.length;
  // A long request that ends counts for the windows before, too: never more than what ended can have filled.
  const requests = Math.max(0, now.requests - since.requests);
  const ended = Math.min((now.busyMs - since.busyMs) / windowMs, requests);
  return {
    uid: revision.uid,
    revision: revision.revision,
    concurrency: Math.round(revision.slotsWorth(Math.max(present, ended, 0)) * 1_000) / 1_000,
    requests,
  };
}
