import type { ErrorCode } from "../../api/errors.ts";
import {
  LATENCY_BUCKET_BOUNDS_MS,
  MAX_REVISION_COUNTS,
  type RevisionCount,
  type RevisionCounters,
} from "../../api/wire/counters.ts";
import type { EndpointIndex } from "./endpoint-index.ts";
import type { Exchange } from "./http/types.ts";

/** Errors of the router that are a revision's own: it could not be started, or its pod failed the request. */
const REVISION_FAULTS: ReadonlySet<string> = new Set<ErrorCode>([
  "specialization_failed",
  "specialization_timeout",
  "archive_invalid",
  "archive_not_found",
  "connection_refused",
  "upstream_reset",
  "bad_upstream",
  "function_timeout",
]);

/** What one revision did in this router since it is known here; the fields are those of `RevisionCount` in `api/wire/counters.ts`. */
export class RevisionTally {
  readonly since = new Date().toISOString();
  requests = 0;
  serverErrors = 0;
  clientErrors = 0;
  platformErrors = 0;
  readonly buckets = new Float64Array(LATENCY_BUCKET_BOUNDS_MS.length + 1);

  /** Counts a request that ended. `code` = the error that the router answered with or cut it off for, `""` for none. */
  count(
    exchange: Pick<Exchange, "outcome" | "status" | "startedAt" | "endedAt">,
    code: ErrorCode | "",
  ): void {
    const { outcome, status } = exchange;
    const faulty = code !== "" && REVISION_FAULTS.has(code);
    if (code !== "" && !faulty && outcome === "replied") return;
    this.requests += 1;
    const bucket = latencyBucket(exchange.endedAt - exchange.startedAt);
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + 1;
    if (outcome === "client-gone") return;
    if (faulty || outcome === "upstream-broken") this.platformErrors += 1;
    else if (status >= 500) this.serverErrors += 1;
    else if (status >= 400) this.clientErrors += 1;
  }
}

/** Tells what the revisions of the given functions counted, of this process of a router. */
export function revisionCounters(
  router: string,
  index: Pick<EndpointIndex, "revisions">,
): (uids: readonly string[] | undefined) => RevisionCounters {
  const startedAt = new Date().toISOString();
  return (uids) => {
    const revisions: RevisionCount[] = [];
    for (const { uid, revision, plan, tally } of index.revisions()) {
      if (!plan || tally.requests === 0 || (uids && !uids.includes(uid))) continue;
      if (revisions.length === MAX_REVISION_COUNTS) break;
      const { since, requests, serverErrors, clientErrors, platformErrors, buckets } = tally;
      revisions.push({
        namespace: plan.slot.namespace,
        function: plan.slot.name,
        uid,
        revision,
        since,
        requests,
        serverErrors,
        clientErrors,
        platformErrors,
        buckets: [...buckets],
      });
    }
    return { router, startedAt, bounds: [...LATENCY_BUCKET_BOUNDS_MS], revisions };
  };
}

/** Index of the first bound that is not below; one beyond the last when all are. */
export function latencyBucket(ms: number): number {
  let from = 0;
  let to = LATENCY_BUCKET_BOUNDS_MS.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((LATENCY_BUCKET_BOUNDS_MS[middle] ?? Number.POSITIVE_INFINITY) < ms) from = middle + 1;
    else to = middle;
  }
  return from;
}
