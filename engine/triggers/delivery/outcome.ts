import { HEADER_COMPONENT, HEADER_REQUEST_ID } from "../../../api/headers.ts";
import { ErrorBody } from "../../../api/wire/error.ts";
import { parseJson } from "../../../net/parse-json.ts";
import type { SignedReply } from "../../../net/signed-client.ts";
import type { Failure, Outcome } from "./event.ts";

const MAX_MESSAGE = 1_024;
export const OVERLOAD_PAUSE_MS = 1_000;
/** The router had no room, or nobody to give it to: the function saw nothing of the call. */
const NOT_TAKEN = new Set([
  "queue_full",
  "queue_timeout",
  "capacity_exceeded",
  "pool_exhausted",
  "function_not_ready",
  "draining",
  "executor_unavailable",
  "workflow_not_ready",
  "workflows_unavailable",
  "redis_unavailable",
]);

/** What an answer of the router (or of the workflow service) comes to. */
export function outcomeOf(reply: Pick<SignedReply, "status" | "headers">, body: Buffer): Outcome {
  const { status } = reply;
  if (status >= 200 && status < 300) return { kind: "done", status, headers: plainHeaders(reply), body };
  const afterMs = retryAfterMs(reply);
  // The function cannot set this header: what carries it was said by the platform, or is the runtime's word about the function.
  const component = reply.headers[HEADER_COMPONENT];
  const bySomebodyElse = typeof component === "string" && component !== "function";
  const said = ErrorBody.partial().safeParse(parseJson(body.toString("utf8"))).data;
  const reason = (bySomebodyElse && said?.reason) || "function_error";
  const text = (bySomebodyElse && said?.message) || body.toString("utf8", 0, 4 * MAX_MESSAGE);
  const message = `${text || "without a body"} (request ${requestIdOf(reply)})`;
  if (bySomebodyElse && NOT_TAKEN.has(reason))
    return overloaded(status, reason, message, afterMs ?? OVERLOAD_PAUSE_MS);
  if (status === 408 || status === 429 || status >= 500)
    return failed(status, reason, message, ...(afterMs === undefined ? [] : [afterMs]));
  // Redirects too: nobody follows them, and a repetition would be redirected again.
  return rejected(status, reason, message);
}

function plainHeaders({ headers }: Pick<SignedReply, "headers">): Record<string, string> {
  const plain: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined) plain[name] = Array.isArray(value) ? value.join(", ") : value;
  return plain;
}

/** `Retry-After` in seconds or as a date. */
function retryAfterMs({ headers }: Pick<SignedReply, "headers">): number | undefined {
  const asked = headers["retry-after"];
  if (typeof asked !== "string" || asked === "") return undefined;
  const seconds = Number(asked);
  const ms = Number.isNaN(seconds) ? Date.parse(asked) - Date.now() : seconds * 1_000;
  return Number.isFinite(ms) && ms >= 0 ? ms : undefined;
}

const requestIdOf = ({ headers }: Pick<SignedReply, "headers">): string =>
  String(headers[HEADER_REQUEST_ID] ?? "unknown");

const failure = (status: number, reason: string, message: string): Failure => ({
  status,
  reason,
  message: message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE - 1)}…` : message,
});
export const failed = (status: number, reason: string, message: string, afterMs?: number): Outcome => ({
  kind: "failed",
  failure: failure(status, reason, message),
  ...(afterMs === undefined ? {} : { afterMs }),
});
export const rejected = (status: number, reason: string, message: string): Outcome => ({
  kind: "rejected",
  failure: failure(status, reason, message),
});
export const overloaded = (status: number, reason: string, message: string, afterMs: number): Outcome => ({
  kind: "overloaded",
  failure: failure(status, reason, message),
  afterMs,
});
