/**
 * Every error that a user of the platform can meet over HTTP, once. Docs (`docs/reference/errors.md`) are generated from
 * this table, and a test proves that no code is used that is not here and none is here that is not used.
 * Codes are never reused for another meaning.
 */
export type ErrorComponent =
  | "router"
  | "executor"
  | "fetcher"
  | "function"
  | "timeout"
  | "builder"
  | "storage"
  | "controller";

export interface ErrorEntry {
  readonly status: number;
  readonly component: ErrorComponent;
  /** Who must act: the caller, the function's author, or the operator of the platform. */
  readonly fault: "caller" | "function" | "platform";
  /** Whether the same request may succeed later; such replies carry `Retry-After`. */
  readonly retry: boolean;
  /** One sentence, for the docs and for the reply's message. */
  readonly meaning: string;
  /** What to do about it. */
  readonly remedy: string;
}

const entry = (
  status: number,
  component: ErrorComponent,
  fault: ErrorEntry["fault"],
  retry: boolean,
  meaning: string,
  remedy: string,
): ErrorEntry => ({ status, component, fault, retry, meaning, remedy });

export const ERRORS = {
  bad_request: entry(
    400,
    "router",
    "caller",
    false,
    "The request breaks HTTP/1.1 or a limit of the router.",
    "Send a well-formed HTTP/1.1 request.",
  ),
  unauthorized: entry(
    401,
    "router",
    "caller",
    false,
    "The call is not signed, or its token or signature is wrong, expired or used before.",
    "Sign the call with the internal key, or send the bearer token of the kubeconfig.",
  ),
  forbidden: entry(
    403,
    "controller",
    "caller",
    false,
    "The bearer token is valid, but its owner may not do this.",
    "Ask for the permission that the message names.",
  ),
  route_miss: entry(
    404,
    "router",
    "caller",
    false,
    "No HTTPTrigger matches the host and path.",
    "List the routes with `isotope route list`.",
  ),
  method_not_allowed: entry(
    405,
    "router",
    "caller",
    false,
    "A route matches the path, but not the method.",
    "Use one of the methods in the `Allow` header.",
  ),
  request_timeout: entry(
    408,
    "router",
    "caller",
    true,
    "The request did not arrive in time.",
    "Send the whole request without long pauses.",
  ),
  body_too_large: entry(
    413,
    "router",
    "caller",
    false,
    "The request body is larger than the route allows.",
    "Send less, or raise the function's body limit.",
  ),
  uri_too_long: entry(414, "router", "caller", false, "The request target is too long.", "Shorten the URL."),
  expectation_failed: entry(
    417,
    "router",
    "caller",
    false,
    "The `Expect` header asks for something other than `100-continue`.",
    "Leave the header out.",
  ),
  headers_too_large: entry(
    431,
    "router",
    "caller",
    false,
    "The request's header block is too large or has too many fields.",
    "Send fewer or smaller headers.",
  ),
  client_disconnect: entry(
    499,
    "router",
    "caller",
    false,
    "The client left before the answer was ready.",
    "Nothing; this code appears in logs and metrics only.",
  ),
  not_implemented: entry(
    501,
    "router",
    "caller",
    false,
    "The request uses a transfer coding or feature that the router does not support.",
    "Use chunked or plain bodies.",
  ),
  http_version: entry(
    505,
    "router",
    "caller",
    false,
    "The HTTP version is not supported on this port.",
    "Use HTTP/1.1.",
  ),
  cors_denied: entry(
    403,
    "router",
    "caller",
    false,
    "The route's CORS settings do not allow this origin.",
    "Add the origin to the trigger's corsConfig.",
  ),

  function_not_found: entry(
    404,
    "router",
    "caller",
    false,
    "The route points to a function that does not exist.",
    "Create the function, or correct the trigger's functionref.",
  ),
  version_not_found: entry(
    404,
    "router",
    "caller",
    false,
    "The request or the route names a version or alias that does not exist, or one of another function.",
    "List them with `isotope fn versions` and `isotope alias list`, and correct the name.",
  ),
  function_not_ready: entry(
    503,
    "router",
    "platform",
    true,
    "The function has no revision that can serve yet: its package is not built, or its environment is missing.",
    "Look at `isotope fn describe`: its conditions say what is missing.",
  ),
  queue_full: entry(
    429,
    "router",
    "caller",
    true,
    "Too many requests wait for this function.",
    "Retry after the time in `Retry-After`; raise concurrency or requestsPerPod if this is normal load.",
  ),
  queue_timeout: entry(
    503,
    "router",
    "platform",
    true,
    "The request waited too long for a free pod.",
    "Retry; raise concurrency or requestsPerPod if this is normal load.",
  ),
  capacity_exceeded: entry(
    429,
    "executor",
    "caller",
    true,
    "The function runs as many pods as its concurrency allows and all are busy.",
    "Retry; raise `concurrency` or `requestsPerPod`.",
  ),
  pool_exhausted: entry(
    503,
    "executor",
    "platform",
    true,
    "No generic pod became ready in time.",
    "Raise the environment's poolsize; look at `isotope env pods`.",
  ),
  executor_unavailable: entry(
    503,
    "router",
    "platform",
    true,
    "The executor cannot be reached, so no new pod can be had.",
    "Retry; look at the executor's log.",
  ),
  specialization_failed: entry(
    502,
    "executor",
    "function",
    false,
    "The function's code could not be loaded into a pod.",
    "Look at `isotope fn logs` and at the function's Ready condition: they hold the error with its place.",
  ),
  already_specialised: entry(
    409,
    "function",
    "caller",
    false,
    "The pod is specialised already, or is another one than was meant; a pod is specialised once.",
    "Nothing; only the executor specialises pods.",
  ),
  specialization_timeout: entry(
    504,
    "executor",
    "function",
    true,
    "The function's code did not load within its specialization timeout.",
    "Do less at module level, or raise --specializationtimeout.",
  ),
  archive_unavailable: entry(
    502,
    "executor",
    "platform",
    true,
    "The function's archive cannot be read from storage.",
    "Upload the package again; look at the storage's log.",
  ),
  connection_refused: entry(
    502,
    "router",
    "platform",
    true,
    "The pod could not be reached.",
    "Retry; the pod is replaced.",
  ),
  upstream_reset: entry(
    502,
    "router",
    "function",
    false,
    "The pod closed the connection before its answer was complete.",
    "Look at `isotope fn logs`: the process may have died or run out of memory.",
  ),
  bad_upstream: entry(
    502,
    "router",
    "function",
    false,
    "The pod's answer breaks HTTP/1.1.",
    "Correct the headers that the function sets.",
  ),
  function_timeout: entry(
    504,
    "timeout",
    "function",
    false,
    "The function did not answer within its timeout.",
    "Make it faster, or raise functionTimeout.",
  ),
  stream_idle: entry(
    504,
    "timeout",
    "function",
    false,
    "A streaming answer was silent for longer than its idle timeout.",
    "Send a heartbeat, or raise streaming.idleTimeoutSeconds.",
  ),
  stream_max_duration: entry(
    504,
    "timeout",
    "function",
    false,
    "A streaming answer reached its maximum duration.",
    "Reconnect, or raise streaming.maxDurationSeconds.",
  ),
  function_error: entry(
    500,
    "function",
    "function",
    false,
    "The function threw, or returned something that is no answer.",
    "Look at `isotope fn logs --request-id <id>`.",
  ),
  draining: entry(
    503,
    "router",
    "platform",
    true,
    "This router is shutting down.",
    "Retry; another router answers.",
  ),
  redis_unavailable: entry(
    503,
    "router",
    "platform",
    true,
    "The feature needs Redis and none is available.",
    "Install redis-server and restart, or set the Redis URL.",
  ),

  archive_invalid: entry(
    400,
    "storage",
    "caller",
    false,
    "The upload is not what its headers say, or breaks a rule for archives.",
    "Correct what the message names.",
  ),
  archive_not_found: entry(
    404,
    "storage",
    "caller",
    false,
    "No archive with this id exists.",
    "List them with `isotope archive list`.",
  ),
  archive_too_large: entry(
    413,
    "storage",
    "caller",
    false,
    "The archive is larger than the cap.",
    "Ship less, or raise the cap.",
  ),
  storage_full: entry(
    507,
    "storage",
    "platform",
    true,
    "The disk of the archive store is full.",
    "Free space; nothing was stored.",
  ),
  log_store_unavailable: entry(
    503,
    "controller",
    "platform",
    true,
    "The log store cannot be reached, or is still starting.",
    "Look at the log-store process; nothing that functions print is lost meanwhile.",
  ),
  kubernetes_unavailable: entry(
    503,
    "controller",
    "platform",
    true,
    "The Kubernetes API cannot be reached, or its objects are not listed yet.",
    "Retry; look at the API server if it lasts.",
  ),
  builder_unavailable: entry(
    503,
    "builder",
    "platform",
    true,
    "No builder pod became ready, or the registry cannot be reached.",
    "Retry with `isotope pkg rebuild`.",
  ),
  internal: entry(
    503,
    "controller",
    "platform",
    true,
    "An unexpected failure of the platform.",
    "Retry; report it with the request id and the process's log.",
  ),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** An error of the table, thrown inside a process and turned into a reply at its edge. */
export class PlatformError extends Error {
  readonly code: ErrorCode;
  readonly retryAfterMs: number | undefined;
  constructor(code: ErrorCode, message?: string, options?: { cause?: unknown; retryAfterMs?: number }) {
    super(
      message ?? ERRORS[code].meaning,
      options?.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = "PlatformError";
    this.code = code;
    this.retryAfterMs = options?.retryAfterMs;
  }
  get status(): number {
    return ERRORS[this.code].status;
  }
}
