/** Why the API server (or the way to it) refused; `reason` is the server's own word, or one of ours for the connection. */
export type KubeErrorReason =
  | "NotFound"
  | "AlreadyExists"
  | "Conflict"
  | "Invalid"
  | "BadRequest"
  | "Unauthorized"
  | "Forbidden"
  | "Expired"
  | "Gone"
  | "TooManyRequests"
  | "Timeout"
  /** No answer: refused, reset, name not found, TLS trouble. Whether a write was done is not known. */
  | "ConnectionFailed"
  | "Aborted"
  | (string & {});

/** Any failed call to the Kubernetes API. `status` is the HTTP status, 0 when no answer came. */
export class KubeError extends Error {
  readonly status: number;
  readonly reason: KubeErrorReason;
  /** Field errors of a 422, as the server names them. */
  readonly causes: readonly { field: string; message: string }[];
  readonly retryAfterMs: number | undefined;
  constructor(
    status: number,
    reason: KubeErrorReason,
    message: string,
    options: {
      cause?: unknown;
      causes?: readonly { field: string; message: string }[];
      retryAfterMs?: number | undefined;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "KubeError";
    this.status = status;
    this.reason = reason;
    this.causes = options.causes ?? [];
    this.retryAfterMs = options.retryAfterMs;
  }
}

export function isNotFound(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 404;
}
/** A lost race: the object changed since it was read, or a precondition or JSON-patch `test` failed. */
export function isConflict(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 409 && error.reason !== "AlreadyExists";
}
export function isForbidden(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 403;
}
export function isAlreadyExists(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 409 && error.reason === "AlreadyExists";
}
/** The resource version is too old (or unknown to the server): list again. */
export function isExpired(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 410;
}
export function isInvalid(error: unknown): error is KubeError {
  return error instanceof KubeError && error.status === 422;
}
interface StatusBody {
  message?: unknown;
  reason?: unknown;
  code?: unknown;
  details?: { retryAfterSeconds?: unknown; causes?: unknown };
}

/** Makes the error of a failed reply from its status, body (a `Status` object or anything else) and Retry-After header. */
export function kubeErrorOf(httpStatus: number, text: string, retryAfter?: string): KubeError {
  const body = statusBody(text);
  const code = typeof body?.code === "number" && httpStatus === 200 ? body.code : httpStatus;
  const seconds = Number(retryAfter ?? body?.details?.retryAfterSeconds);
  return new KubeError(
    code,
    typeof body?.reason === "string" && body.reason !== "" ? body.reason : defaultReason(code),
    typeof body?.message === "string" && body.message !== ""
      ? body.message
      : `Kubernetes API answered ${code}: ${text.slice(0, 300)}`,
    {
      causes: causesOf(body?.details?.causes),
      ...(Number.isFinite(seconds) && seconds >= 0 ? { retryAfterMs: seconds * 1000 } : {}),
    },
  );
}

function statusBody(text: string): StatusBody | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function causesOf(value: unknown): { field: string; message: string }[] {
  if (!Array.isArray(value)) return [];
  return value.map((cause: { field?: unknown; message?: unknown }) => ({
    field: typeof cause.field === "string" ? cause.field : "",
    message: typeof cause.message === "string" ? cause.message : "",
  }));
}

function defaultReason(status: number): KubeErrorReason {
  const reasons: Record<number, KubeErrorReason> = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Gone",
    422: "Invalid",
    429: "TooManyRequests",
    504: "Timeout",
  };
  return reasons[status] ?? "InternalError";
}
