import { z } from "zod";

/**
 * What a router counted, for whoever judges a release: `GET /v2/counters[?uid=…]` on the internal (signed) listener → `RevisionCounters`.
 * `uid` (may be repeated) names the functions that are wanted; without it all are told. Everything is cumulative since the process
 * started: a reader takes differences between two replies with the same `router`, and starts anew when that changes. A revision that is
 * not told has had no request, or was forgotten because nothing named it and it had no pod; when it comes back it starts at 0 with
 * another `since`.
 */
export const COUNTERS_PATH = "/v2/counters";

/** Revisions of one reply at most; who has more functions asks by `uid`. */
export const MAX_REVISION_COUNTS = 20_000;

/** Upper bounds of the latency buckets in ms, ascending: 0.5 ms, each 1.25 times the one before (some 12 % of error within a bucket). */
export const LATENCY_BUCKET_BOUNDS_MS: readonly number[] = latencyBounds();

function latencyBounds(): number[] {
  const bounds: number[] = [];
  // 55 bounds end at 85 s, beyond the default limit of a request.
  for (let i = 0; i < 55; i += 1) bounds.push(Math.round(0.5 * 1.25 ** i * 1_000) / 1_000);
  return bounds;
}

const Count = z.int().min(0).max(Number.MAX_SAFE_INTEGER);

export const RevisionCount = z.object({
  namespace: z.string().max(63),
  function: z.string().max(253),
  uid: z.string().max(64),
  revision: z.string().max(64),
  /** When this router began to count the revision (ISO 8601). */
  since: z.string().max(64),
  /** Requests that ended, however they did; those whose client left first are in it, and in nothing else but `buckets`. */
  requests: Count,
  /** Of these: answered 5xx by the function itself, its handler that threw and its own deadline among them. */
  serverErrors: Count,
  /** Answered 4xx by the function. */
  clientErrors: Count,
  /**
   * Failed by what this revision did to its pods or what its pods did: could not be specialised, broke the connection, answered no HTTP,
   * ran out of time or of memory. A full queue or an executor that is away is nobody's fault here, and is counted nowhere.
   */
  platformErrors: Count,
  /** Requests by time from the first byte of the request to the last of the answer; one longer than `bounds`: the last is above all. */
  buckets: z.array(Count).max(200),
});
export type RevisionCount = z.infer<typeof RevisionCount>;

export const RevisionCounters = z.object({
  /** One process of a router: random, made anew at its start. The same as in `LoadReport`. */
  router: z.string().min(1).max(64),
  startedAt: z.string().max(64),
  bounds: z.array(z.number().positive()).max(199),
  revisions: z.array(RevisionCount).max(MAX_REVISION_COUNTS),
});
export type RevisionCounters = z.infer<typeof RevisionCounters>;
