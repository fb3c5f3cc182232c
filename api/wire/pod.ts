import { z } from "zod";

/**
 * Control calls to a pod of the Deno environment, on the same port as its requests. A request WITHOUT the header
 * `x-isotope-pod` whose path starts with `/_isotope/` is a control call (all but healthz need the pod token); a request WITH
 * that header is always a user request, whatever its path. A specialised direct pod refuses (421 `wrong-pod`) a request
 * that carries neither. Specialised by the reference system's contract (JSON on /v2/specialize or /specialize) it serves every request.
 *
 *   GET  /_isotope/healthz   200 when the event loop turns: `PodHealth`. No token.
 *   GET  /_isotope/status    200 `PodStatus`.
 *   POST /_isotope/retire    body `RetireRequest`; 200 `PodStatus` with state "retired" when the pod was idle for that long and now
 *                            refuses everything (header x-isotope-refused: retired); 409 `PodStatus` when it is in use.
 *   POST /_isotope/drain     200: refuses new requests (refused: retired), finishes the running ones, then exits 0.
 *
 * A pod of a foreign image is asked the same at its fetcher (port FETCHER_PORT), which also takes the requests. Where such a pod takes any
 * number of functions, `?function=<uid>` names one: status, retire and drain are then of this function alone.
 */
export const POD_STATES = ["generic", "specialising", "specialised", "retired", "failed"] as const;

export const PodHealth = z.object({ podUid: z.string(), state: z.enum(POD_STATES) });
export type PodHealth = z.infer<typeof PodHealth>;

const ServedFunction = z.object({
  revision: z.string().nullable(),
  function: z.object({ namespace: z.string(), name: z.string(), uid: z.string() }).nullable(),
  inFlight: z.number().int(),
  /** Requests started since specialisation. */
  started: z.number().int(),
  /** Milliseconds since the last request ended (or since specialisation); 0 while one runs (waitUntil and sockets count). */
  idleMs: z.number(),
});

export const PodStatus = ServedFunction.extend({
  podUid: z.string(),
  state: z.enum(POD_STATES),
  /** All functions of a pod that takes any number of them; the fields above are then those of the one that was asked for. */
  functions: z.array(ServedFunction).max(10_000).optional(),
});
export type PodStatus = z.infer<typeof PodStatus>;

export const RetireRequest = z.object({ ifIdleForMs: z.number().int().nonnegative() });
export type RetireRequest = z.infer<typeof RetireRequest>;

/** Names in the environment of a fresh pod; the runtime reads and then removes them, so that no function sees them. */
export const POD_ENV = {
  token: "ISOTOPE_POD_TOKEN",
  podUid: "ISOTOPE_POD_UID",
  podName: "ISOTOPE_POD_NAME",
  namespace: "ISOTOPE_POD_NAMESPACE",
  /** How long running requests may take after SIGTERM: shorter than the pod's grace period. */
  drainMs: "ISOTOPE_DRAIN_MS",
} as const;
