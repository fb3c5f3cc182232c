import { type ErrorCode, ERRORS, PlatformError } from "../api/errors.ts";
import { HEADER_COMPONENT, HEADER_REQUEST_ID } from "../api/headers.ts";
import type { ErrorBody } from "../api/wire/error.ts";

export interface ErrorContext {
  readonly requestId?: string | undefined;
  readonly traceId?: string | undefined;
  /** Whether the caller may see the error's own message; otherwise, and when it is no caller's fault, it sees the table's meaning. */
  readonly debug?: boolean;
}

export interface ErrorReply {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: ErrorBody;
}

const DEFAULT_RETRY_AFTER_MS = 1_000;

/** Reply to any thrown value: a `PlatformError` as the table says, everything else as `internal`. */
export function errorReply(error: unknown, context: ErrorContext = {}): ErrorReply {
  const known = toPlatformError(error);
  const entry = ERRORS[known.code];
  const open = context.debug === true || entry.fault === "caller";
  const body: ErrorBody = { component: entry.component, reason: known.code };
  if (context.requestId !== undefined) body.requestId = context.requestId;
  if (context.traceId !== undefined) body.traceId = context.traceId;
  body.message = open ? known.message : entry.meaning;
  const headers: Record<string, string> = {
    "content-type": "application/json",
    [HEADER_COMPONENT]: entry.component,
  };
  if (context.requestId !== undefined) headers[HEADER_REQUEST_ID] = context.requestId;
  if (entry.retry || known.retryAfterMs !== undefined)
    headers["retry-after"] = retryAfterSeconds(known.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS);
  return { status: entry.status, headers, body };
}

/** Value of `Retry-After` (whole seconds, at least 1) for a pause in milliseconds. */
const retryAfterSeconds = (pauseMs: number): string => String(Math.max(1, Math.ceil(pauseMs / 1000)));

/** The thrown value itself when it is of the table, else an `internal` error with it as cause. */
function toPlatformError(error: unknown): PlatformError {
  if (error instanceof PlatformError) return error;
  return new PlatformError("internal", error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}

/** Whether a reason from the wire is a code of this build's table. */
export const isErrorCode = (reason: string): reason is ErrorCode => Object.hasOwn(ERRORS, reason);

interface FastifyLikeReply {
  code(status: number): FastifyLikeReply;
  headers(headers: Record<string, string>): FastifyLikeReply;
  send(body: unknown): unknown;
}
interface FastifyLikeRequest {
  readonly headers: Record<string, string | string[] | undefined>;
}

export interface ErrorHandlerOptions {
  /** Called for every error that is not of the table, i.e. a bug or an unforeseen failure. */
  readonly onUnexpected: (error: unknown) => void;
  /** Whether callers may see messages of platform faults: true on signed or authenticated servers. */
  readonly debug?: boolean;
  /** The code that a malformed request gets (fastify's own 4xx errors: bad JSON, wrong content type, failed validation). */
  readonly badRequest?: ErrorCode;
}

/** A fastify error handler that answers with `errorReply`. */
export function fastifyErrorHandler(options: ErrorHandlerOptions) {
  return (error: unknown, request: FastifyLikeRequest, reply: FastifyLikeReply): void => {
    const known = fromFastify(error, options.badRequest ?? "bad_request");
    if (!known) options.onUnexpected(error);
    const requestId = request.headers[HEADER_REQUEST_ID];
    const answer = errorReply(known ?? error, {
      requestId: typeof requestId === "string" ? requestId : undefined,
      debug: options.debug ?? false,
    });
    reply.code(answer.status).headers(answer.headers).send(answer.body);
  };
}

function fromFastify(error: unknown, badRequest: ErrorCode): PlatformError | undefined {
  if (error instanceof PlatformError) return error;
  if (!(error instanceof Error) || !("statusCode" in error)) return undefined;
  const status = error.statusCode;
  if (status === 413) return new PlatformError("body_too_large", error.message, { cause: error });
  if (typeof status === "number" && status >= 400 && status < 500)
    return new PlatformError(badRequest, error.message, { cause: error });
  return undefined;
}
