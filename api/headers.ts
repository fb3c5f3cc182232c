/**
 * Header names between the processes and towards functions, all lower case (HTTP header names are case-insensitive;
 * replies spell them as written here). Names that start with `x-fission-` are the reference system's.
 */

/** Router → pod: the UID of the pod that the router means. A pod with another UID answers 421. */
export const HEADER_POD = "x-isotope-pod";
/** Router → pod: the revision that the router means. A pod that serves another one answers 421. */
export const HEADER_REVISION = "x-isotope-revision";
/** Router → pod: milliseconds that the whole request may still take; the pod aborts `request.signal` after it. */
export const HEADER_TIMEOUT_MS = "x-isotope-timeout-ms";
/**
 * Pod → router, on 421, 429 or 503 only: the request was refused before any user code ran, so it may go to another pod.
 * Values: `PodRefusal`. Never passed on to the client.
 */
export const HEADER_REFUSED = "x-isotope-refused";
/** Pod → router: set on a reply that the runtime made itself (handler threw, deadline, load error): the error code. */
export const HEADER_ERROR_CODE = "x-isotope-error";

/** What makes repeated calls one: the same for all attempts. */
export const HEADER_IDEMPOTENCY_KEY = "idempotency-key";
/** Signed caller → router: keep the answer to this `Idempotency-Key` for so many seconds, and answer with it when the key comes again. */
export const HEADER_FIRST_ANSWER = "x-isotope-first-answer";
/** Router → signed caller: `true` when the answer is the one of an earlier call of the same key. */
export const HEADER_REPLAYED = "x-isotope-replayed";
/** Workflow engine → function: how often this step was begun, from 1. Its `Idempotency-Key` stays the same. */
export const HEADER_ATTEMPT = "x-isotope-attempt";
/** Workflow engine → function: `<namespace>/<id>` of the run. */
export const HEADER_RUN = "x-isotope-run";
/** Workflow engine → function: the one-time token for the step's result or heartbeats, where the step waits for a callback. */
export const HEADER_CALLBACK_TOKEN = "x-isotope-callback-token";

/** Why a pod refused a request before running anything. */
export const POD_REFUSALS = ["busy", "wrong-pod", "wrong-revision", "retired", "not-specialised"] as const;
export type PodRefusal = (typeof POD_REFUSALS)[number];

export const HEADER_REQUEST_ID = "x-fission-request-id";
export const HEADER_FUNCTION_UID = "x-fission-function-uid";
export const HEADER_FUNCTION_NAME = "x-fission-function-name";
export const HEADER_FUNCTION_NAMESPACE = "x-fission-function-namespace";
export const HEADER_FUNCTION_RESOURCE_VERSION = "x-fission-function-resourceversion";
/** Followed by the name of the path variable, e.g. `x-fission-params-id`. */
export const HEADER_PARAMS_PREFIX = "x-fission-params-";
export const HEADER_FULL_URL = "x-fission-full-url";
export const HEADER_COMPONENT = "x-fission-component";
export const HEADER_ROUTE_MISS = "x-fission-route-miss";
export const HEADER_DEBUG = "x-fission-debug";

/** Signature headers of calls between the platform's own processes. */
export const HEADER_AUTH_TIMESTAMP = "x-isotope-auth-timestamp";
export const HEADER_AUTH_NONCE = "x-isotope-auth-nonce";
export const HEADER_AUTH_AUDIENCE = "x-isotope-auth-audience";
/** sha256 (hex) of the body; part of what is signed, so that the head can be verified before the body is read. */
export const HEADER_AUTH_DIGEST = "x-isotope-auth-digest";
export const HEADER_AUTH_SIGNATURE = "x-isotope-auth-signature";

/** Prefixes that a request from outside may never carry to a function or to a process of the platform. */
export const INTERNAL_HEADER_PREFIXES = ["x-isotope-", "x-fission-"] as const;
/** The caller's headers under an internal prefix that are let through. */
export const CALLER_HEADERS = [
  HEADER_REQUEST_ID,
  HEADER_DEBUG,
  "x-fission-invoke-mode",
  "x-fission-dedup-key",
] as const;
