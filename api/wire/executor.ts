import { z } from "zod";

/**
 * The executor's API for routers (signed calls, JSON).
 *
 *   POST /v2/acquire   `AcquireRequest` → 200 `AcquireReply` once there is room, or an `ErrorBody` with its table status
 *                      (429 capacity_exceeded, 503 pool_exhausted, 502 specialization_failed, 504 specialization_timeout, 404 function_not_found …).
 *   POST /v2/suspect   `SuspectReport` → 202. The executor looks at the pod itself and replaces it if it does not answer.
 *   POST /v2/warm      `WarmRequest` → 200 `WarmReply` once that many pods are ready, 202 `WarmReply` with what is there after `waitMs`,
 *                      or an `ErrorBody` with its table status (404 function_not_found, 503 function_not_ready: neither the function nor a version of
 *                      it serves the revision, 502 specialization_failed …).
 *   GET  /v2/debug     what it holds: pools, revisions, pods.
 */
export const AcquireRequest = z.object({
  namespace: z.string(),
  name: z.string(),
  uid: z.string(),
  revision: z.string(),
  /** Pod UIDs that this router knows for the revision; the reply names one that is not among them, or whose load the executor knows to be free. */
  known: z.array(z.string()).max(2000),
  /** How many requests wait in this router for the revision: the executor may start several pods at once for them. */
  waiting: z.number().int().positive(),
  requestId: z.string(),
  /** How long the router is willing to wait. */
  waitMs: z.number().int().positive(),
});
export type AcquireRequest = z.infer<typeof AcquireRequest>;

/** Start pods of a revision ahead of its traffic, so that a step of a release or a rollback meets no cold start. It starts, it never stops. */
export const WarmRequest = z.object({
  namespace: z.string(),
  name: z.string(),
  uid: z.string(),
  revision: z.string(),
  /** How many ready pods there shall be at least; never more than the function's concurrency allows. */
  pods: z.number().int().min(1).max(1000),
  /** How long the caller waits for them; they go on starting after it. */
  waitMs: z.number().int().nonnegative().max(600_000),
});
export type WarmRequest = z.infer<typeof WarmRequest>;

export const WarmReply = z.object({
  /** Ready pods of the revision now. */
  ready: z.number().int().nonnegative(),
  /** Pods that are on their way. */
  starting: z.number().int().nonnegative(),
  /** How many were asked for, after the function's concurrency. */
  wanted: z.number().int().nonnegative(),
});
export type WarmReply = z.infer<typeof WarmReply>;

/**
 * What a pod can do towards routers. `direct` (the default): it knows what it serves and refuses what it cannot take (`api/headers.ts`).
 * `sidecar`: a foreign image behind the fetcher, which refuses for it; the image expects `/` where a route is a whole path.
 * `reference`: the same image alone, which refuses nothing.
 */
export const POD_CONTRACTS = ["direct", "sidecar", "reference"] as const;
export type PodContract = (typeof POD_CONTRACTS)[number];

export const Endpoint = z.object({
  podUid: z.string(),
  podName: z.string(),
  /** `ip:port`. */
  address: z.string(),
  revision: z.string(),
  requestsPerPod: z.number().int().positive(),
  contract: z.enum(POD_CONTRACTS).optional(),
});
export type Endpoint = z.infer<typeof Endpoint>;

export const AcquireReply = z.object({ endpoints: z.array(Endpoint).min(1) });
export type AcquireReply = z.infer<typeof AcquireReply>;

export const SuspectReport = z.object({
  namespace: z.string(),
  podUid: z.string(),
  podName: z.string(),
  revision: z.string(),
  reason: z.enum([
    "connect_failed",
    "timeout",
    "reset",
    "wrong-pod",
    "wrong-revision",
    "retired",
    "not-specialised",
  ]),
});
export type SuspectReport = z.infer<typeof SuspectReport>;

/**
 * EndpointSlices of functions, written by the executor, watched by routers: one or more per revision, in the function's namespace,
 * labels LABEL_FUNCTION_NAME, LABEL_FUNCTION_UID, LABEL_REVISION, MANAGED_BY; addressType IPv4; `ports: [{name: "http", port}]`;
 * each endpoint: `addresses: [ip]`, `conditions.ready`, `targetRef: {kind: "Pod", name, namespace, uid}`. Annotation REQUESTS_PER_POD.
 */
export const ANNOTATION_REQUESTS_PER_POD = "isotope.dev/requests-per-pod";
/** On an EndpointSlice: as `Endpoint.contract`. */
export const ANNOTATION_CONTRACT = "isotope.dev/contract";
