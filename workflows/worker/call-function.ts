import type { Readable } from "node:stream";
import { PlatformError } from "../../api/errors.ts";
import {
  HEADER_ATTEMPT,
  HEADER_CALLBACK_TOKEN,
  HEADER_COMPONENT,
  HEADER_FIRST_ANSWER,
  HEADER_REQUEST_ID,
  HEADER_RUN,
} from "../../api/headers.ts";
import { ErrorBody } from "../../api/wire/error.ts";
import { parseJson } from "../../net/parse-json.ts";
import type { SignedCall, SignedClient, SignedReply } from "../../net/signed-client.ts";
import type { Json } from "../core/json.ts";
import type { RunKey } from "../core/run-record.ts";
import type { ErrorFacts } from "../definition/definition.ts";

/** One attempt of a step: what is sent to which function, pinned. */
export interface FunctionCall {
  readonly run: RunKey;
  /** The effect's, or `<effect>.<index>` of an item of a map. */
  readonly token: string;
  /** From 1. */
  readonly attempt: number;
  readonly functionName: string;
  readonly version: string;
  /** Default POST. */
  readonly method?: string;
  /** Below the function; default `/`. */
  readonly path?: string;
  readonly input: Json;
  readonly timeoutMs: number;
  /** For a step that waits for a callback. */
  readonly callbackToken?: string;
}

/** What an attempt came to. */
export type CallResult =
  | { readonly kind: "done"; readonly output: Json }
  /** The function took the call and will report by its callback token. */
  | { readonly kind: "accepted" }
  /** `cause`: what the function said, when it was JSON. */
  | { readonly kind: "failed"; readonly error: ErrorFacts; readonly cause?: Json }
  /** Nothing of it ran, since the platform could not take it now: no attempt is used up. */
  | { readonly kind: "overloaded"; readonly retryAfterMs: number; readonly why: string };

export interface CallFunctionDeps {
  /** The router's internal listener. */
  readonly router: Pick<SignedClient, "send">;
  /** Whether the version exists, though a router may not know it yet. */
  readonly versionExists: (namespace: string, functionName: string, version: string) => boolean;
}

/** Largest answer of a step. */
export const MAX_ANSWER_BYTES = 50 * 2 ** 20;
const MAX_MESSAGE = 1_024;
const UNREACHABLE_PAUSE_MS = 1_000;
const UNKNOWN_VERSION_PAUSE_MS = 200;
/** How long the router keeps an answer for the case that a crash of the worker keeps it from being stored. */
const FIRST_ANSWER_TTL_S = 600;
const METHODS: readonly SignedCall["method"][] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
/** The router had no room, or nobody to give it to: the function saw nothing of the call. */
const NOT_TAKEN = new Set([
  "queue_full",
  "queue_timeout",
  "capacity_exceeded",
  "pool_exhausted",
  "function_not_ready",
  "draining",
  "executor_unavailable",
  // The router could not look for a first answer.
  "redis_unavailable",
]);
const NEVER_BETTER = new Set(["function_not_found", "version_not_found", "route_miss", "body_too_large"]);

export type CallFunction = (call: FunctionCall, signal: AbortSignal) => Promise<CallResult>;

/**
 * Makes one attempt of a step through the router. The `Idempotency-Key` is the same for every attempt; an aborted `signal` ends the call, which aborts
 * the function's `request.signal`, and rejects with the signal's reason. Everything else is a result.
 */
export function functionCaller(deps: CallFunctionDeps): CallFunction {
  return async (call, signal) => {
    const limit = limitOf(call.timeoutMs, signal);
    try {
      const reply = await deps.router.send({ ...requestOf(call), timeoutMs: "signal", signal: limit.signal });
      const body = await readAnswer(reply.body);
      return resultOf(deps, call, reply, body);
    } catch (error) {
      signal.throwIfAborted();
      if (limit.signal.aborted) return timedOut(`The function did not answer within ${call.timeoutMs} ms`);
      if (error instanceof RangeError) return failed("Fission.PermanentError", error.message);
      if (error instanceof PlatformError)
        return { kind: "overloaded", retryAfterMs: UNREACHABLE_PAUSE_MS, why: error.message };
      // The connection broke in the middle of the answer: whether the function has done its work is unknown.
      return failed("Fission.FunctionError", error instanceof Error ? error.message : String(error));
    } finally {
      limit.lift();
    }
  };
}

/** Longest delay of a timer. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Aborts with `signal`, and after that time, until lifted: `AbortSignal.any` and `timeout` cost a tenth of a call. */
function limitOf(timeoutMs: number, signal: AbortSignal): { signal: AbortSignal; lift: () => void } {
  const stop = new AbortController();
  const abort = (): void => stop.abort(signal.reason);
  const timer = setTimeout(() => stop.abort(), Math.min(timeoutMs, MAX_TIMER_MS));
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort, { once: true });
  return {
    signal: stop.signal,
    lift: () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    },
  };
}

/** The key by which a function can tell repetitions of a step from new ones: it never changes. */
export const idempotencyKey = ({ namespace, id }: RunKey, token: string): string =>
  `${namespace}/${id}/${token}`;

function requestOf(call: FunctionCall): Pick<SignedCall, "method" | "target" | "headers" | "body"> {
  const method = METHODS.find((known) => known === (call.method ?? "POST").toUpperCase()) ?? "POST";
  const { namespace, id } = call.run;
  const path = call.path ?? "/";
  const bodiless = method === "GET" || method === "HEAD";
  return {
    method,
    target: `/fission-function/${namespace}/${call.functionName}:${call.version}${path.startsWith("/") ? path : `/${path}`}`,
    headers: {
      accept: "application/json",
      "idempotency-key": idempotencyKey(call.run, call.token),
      [HEADER_ATTEMPT]: String(call.attempt),
      [HEADER_RUN]: `${namespace}/${id}`,
      ...(call.callbackToken === undefined ? {} : { [HEADER_CALLBACK_TOKEN]: call.callbackToken }),
      // What was answered to the first attempt of a callback step has nothing to say to the next one: it is asked anew.
      ...(call.callbackToken !== undefined && call.attempt > 1
        ? {}
        : { [HEADER_FIRST_ANSWER]: String(FIRST_ANSWER_TTL_S) }),
      ...(bodiless ? {} : { "content-type": "application/json" }),
    },
    ...(bodiless ? {} : { body: JSON.stringify(call.input) }),
  };
}

function readAnswer(body: Readable): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    body.on("data", (chunk: Buffer) => {
      size += chunk.length;
      chunks.push(chunk);
      if (size <= MAX_ANSWER_BYTES) return;
      reject(new RangeError(`The function's answer is larger than ${MAX_ANSWER_BYTES} bytes`));
      body.destroy();
    });
    body.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
    body.on("error", reject);
    body.on("close", () => reject(new Error("The connection ended in the middle of the answer")));
  });
}

function resultOf(deps: CallFunctionDeps, call: FunctionCall, reply: SignedReply, body: string): CallResult {
  const { status } = reply;
  if (status >= 200 && status < 300) {
    if (call.callbackToken !== undefined) return { kind: "accepted" };
    return answered(reply, body);
  }
  // The function cannot set this header: what carries it was said by the platform, or is the runtime's word about the function.
  const component = reply.headers[HEADER_COMPONENT];
  if (typeof component === "string" && component !== "function")
    return platformRefusal(deps, call, reply, body);
  return functionFailure(reply, body);
}

function answered(reply: SignedReply, body: string): CallResult {
  if (body === "") return { kind: "done", output: null };
  const type = reply.headers["content-type"];
  if (typeof type !== "string" || !/[/+]json\b/i.test(type)) return { kind: "done", output: body };
  const output = parseJson(body);
  return output === undefined
    ? failed("Fission.PermanentError", `The function's answer says it is JSON, but is not: ${cut(body, 200)}`)
    : { kind: "done", output };
}

function platformRefusal(
  deps: CallFunctionDeps,
  call: FunctionCall,
  reply: SignedReply,
  body: string,
): CallResult {
  const parsed = ErrorBody.safeParse(parseJson(body));
  const reason = parsed.success ? parsed.data.reason : "";
  const message = (parsed.success && parsed.data.message) || cut(body, 200);
  const said = `${message} (${reason || reply.status}, request ${requestIdOf(reply)})`;
  const seconds = Number(reply.headers["retry-after"]);
  const retryAfterMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : UNREACHABLE_PAUSE_MS;
  if (NOT_TAKEN.has(reason)) return { kind: "overloaded", retryAfterMs, why: said };
  const { run, functionName, version } = call;
  if (reason === "version_not_found" && deps.versionExists(run.namespace, functionName, version))
    return { kind: "overloaded", retryAfterMs: UNKNOWN_VERSION_PAUSE_MS, why: said };
  if (NEVER_BETTER.has(reason)) return failed("Fission.PermanentError", said);
  if (reply.status === 504) return timedOut(said);
  return failed(reply.status < 500 ? "Fission.PermanentError" : "Fission.FunctionError", said);
}

function functionFailure(reply: SignedReply, body: string): CallResult {
  const { status } = reply;
  const said = parseJson(body);
  const facts = failureFacts(said);
  const permanent = status >= 400 && status < 500;
  const type = facts.type ?? (permanent ? "Fission.PermanentError" : "Fission.FunctionError");
  const shown = facts.message ?? (body === "" ? "without a body" : cut(body, MAX_MESSAGE));
  const failure = failed(
    type,
    `The function answered ${status}: ${shown} (request ${requestIdOf(reply)})`,
    said,
  );
  return permanent && failure.kind === "failed"
    ? { ...failure, error: { ...failure.error, permanent } }
    : failure;
}

/** `{errorType, cause}` as the reference system has it, or `{error: {type|name, message}}` and the like. */
function failureFacts(said: Json | undefined): { type?: string; message?: string } {
  if (!isObject(said)) return {};
  const nested = said.error;
  const from: Readonly<Record<string, Json | undefined>> = isObject(nested) ? nested : said;
  const type = textOf(from.errorType) ?? textOf(from.type) ?? textOf(from.name);
  const message =
    textOf(from.cause) ??
    textOf(from.message) ??
    (typeof nested === "string" ? cut(nested, MAX_MESSAGE) : undefined);
  return {
    ...(type === undefined || type.length > 128 ? {} : { type }),
    ...(message === undefined ? {} : { message }),
  };
}

const isObject = (value: Json | undefined): value is { readonly [key: string]: Json | undefined } =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const textOf = (value: Json | undefined): string | undefined =>
  typeof value === "string" && value !== "" ? cut(value, MAX_MESSAGE) : undefined;
const cut = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length)}…`;
const requestIdOf = (reply: SignedReply): string => String(reply.headers[HEADER_REQUEST_ID] ?? "unknown");
const failed = (type: string, message: string, cause?: Json): CallResult => ({
  kind: "failed",
  error: { type, message },
  ...(cause === undefined ? {} : { cause }),
});
const timedOut = (message: string): CallResult => failed("Fission.Timeout", message);
