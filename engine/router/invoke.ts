import { type ErrorCode, ERRORS, PlatformError } from "../../api/errors.ts";
import {
  HEADER_COMPONENT,
  HEADER_DEBUG,
  HEADER_ERROR_CODE,
  HEADER_REQUEST_ID,
  POD_REFUSALS,
} from "../../api/headers.ts";
import type { SuspectReport } from "../../api/wire/executor.ts";
import { errorReply } from "../../net/error-reply.ts";
import type { EndpointIndex } from "./endpoint-index.ts";
import { type FunctionSlot, whyNotServed } from "./function-table.ts";
import type { Exchange, Handler, Refusal, RelayFailure, ResponseHead } from "./http/types.ts";
import { Invocation, type InvocationFacts } from "./invocation.ts";
import { requestIdOf, traceIdOf } from "./request-identity.ts";
import type { RouterMetrics } from "./router-metrics.ts";
import type { ServingPlan } from "./serving-plan.ts";
import type { Endpoint } from "./endpoint.ts";
import { HeldCall, type UnreadyCalls } from "./unready-calls.ts";

/*
 * The life of one call: match (by the listener's handler) → admit → endpoint → relay → map what the pod said. A call of a function that
 * serves nothing yet is held before it is admitted. Invariants:
 * 1. A slot taken is given back exactly once: by `onRefused`, `onFailed` or `onEnd`, whichever comes first.
 * 2. A request goes to a second pod only when the first ran nothing of it: it refused, was not reached, or a repetition is harmless.
 * 3. Every error reply carries a code of the table, the component and the request id.
 */

export type SuspectReason = SuspectReport["reason"];

export interface InvokeDeps {
  readonly index: Pick<EndpointIndex, "drop">;
  readonly metrics: RouterMetrics;
  readonly unready: UnreadyCalls;
  readonly suspect: (endpoint: Endpoint, reason: SuspectReason) => void;
  readonly debugErrors: boolean;
  /** Called at the end of every call of a function and of every error reply. */
  readonly logEnd: (exchange: Exchange, facts: { code: string; requestId: string; function: string }) => void;
}

export interface Invoker extends Omit<Handler, "onRequest"> {
  /** Calls the function of a slot. */
  call(slot: FunctionSlot, facts: InvocationFacts): void;
  /** A function begins to serve or went away: its held calls go on. */
  settled(slot: FunctionSlot): void;
  /** Answers a request that reaches no function. `lines` = further header lines. */
  refuse(exchange: Exchange, error: PlatformError, lines?: string): void;
}

const REQUEST_ID_START = `${HEADER_REQUEST_ID}: `;
/** A request that could not be sent to a pod is tried on so many others. */
const MOST_FAILURES = 3;

const FAILURE_CODES: Readonly<Record<RelayFailure["kind"], ErrorCode>> = {
  connect: "connection_refused",
  "connect-timeout": "connection_refused",
  "queue-full": "queue_full",
  "queue-timeout": "queue_timeout",
  closed: "connection_refused",
  reset: "upstream_reset",
  "response-timeout": "function_timeout",
  "bad-response": "bad_upstream",
  deadline: "function_timeout",
  "body-too-large": "body_too_large",
};

export function createInvoker(deps: InvokeDeps): Invoker {
  const replyError = (invocation: Invocation, error: PlatformError) => {
    invocation.code = error.code;
    reply(deps, invocation.exchange, error, invocation.corsLines ?? "", invocation);
  };
  const call = (slot: FunctionSlot, facts: InvocationFacts) => {
    const revision = slot.current;
    if (revision === undefined) {
      if (!deps.unready.hold(slot, facts)) refuseUnserved(deps, slot, facts);
      return;
    }
    const invocation = new Invocation(facts, slot, revision, replyError);
    facts.exchange.context = invocation;
    revision.admit(invocation);
  };
  return {
    call,
    settled: (slot) => deps.unready.settled(slot, call),
    refuse: (exchange, error, lines = "") => reply(deps, exchange, error, lines, undefined),
    onRefused: (exchange, refusal) => {
      const invocation = invocationOf(exchange);
      if (invocation) refused(deps, invocation, refusal);
    },
    onFailed: (exchange, failure) => {
      const invocation = invocationOf(exchange);
      if (invocation) failed(deps, invocation, failure);
    },
    onResponse: (exchange, response) => {
      const invocation = invocationOf(exchange);
      return invocation ? responseLines(invocation, response) : "";
    },
    onDeadline: (exchange) => {
      const { context } = exchange;
      if (context instanceof HeldCall) {
        deps.unready.withdraw(context);
        return refuseUnserved(deps, context.slot, context.facts);
      }
      const invocation = invocationOf(exchange);
      if (!invocation) return reply(deps, exchange, new PlatformError("request_timeout"), "", undefined);
      invocation.revision.withdraw(invocation);
      invocation.refuse(invocation.revision.waitedInVain());
    },
    onEnd: (exchange) => ended(deps, exchange),
  };
}

const invocationOf = (exchange: Exchange): Invocation | undefined =>
  exchange.context instanceof Invocation ? exchange.context : undefined;

interface Identity {
  readonly requestId: string;
  readonly traceparent: string;
}

function reply(
  deps: InvokeDeps,
  exchange: Exchange,
  error: PlatformError,
  lines: string,
  identity: Identity | undefined,
): void {
  const requestId = identity?.requestId ?? requestIdOf(exchange.header(HEADER_REQUEST_ID));
  const answer = errorReply(error, {
    requestId,
    traceId: identity ? traceIdOf(identity.traceparent) : undefined,
    debug: deps.debugErrors && exchange.header(HEADER_DEBUG) === "true",
  });
  let block = "x-content-type-options: nosniff\r\n";
  for (const name in answer.headers) block += `${name}: ${answer.headers[name]}\r\n`;
  deps.metrics.errors.series({ code: error.code }).value += 1;
  if (!identity) exchange.context = { code: error.code, requestId } satisfies Refused;
  exchange.reply(answer.status, block + lines, `${JSON.stringify(answer.body)}\n`);
}

function refuseUnserved(deps: InvokeDeps, slot: FunctionSlot, facts: InvocationFacts): void {
  const error = whyNotServed(slot);
  facts.exchange.context = { code: error.code, requestId: facts.requestId } satisfies Refused;
  reply(deps, facts.exchange, error, facts.corsLines ?? "", facts);
}

/** Context of an exchange that was answered without a function. */
interface Refused {
  readonly code: ErrorCode;
  readonly requestId: string;
}

function refused(deps: InvokeDeps, invocation: Invocation, refusal: Refusal): void {
  const { endpoint, revision, exchange } = invocation;
  if (!endpoint) return;
  invocation.endpoint = undefined;
  const reason = POD_REFUSALS.find((known) => known === refusal.reason);
  deps.metrics.refusals.series({ reason: reason ?? "other" }).value += 1;
  const again = exchange.canResend ? invocation : undefined;
  if (reason === "busy") revision.rest(endpoint, again);
  else {
    deps.index.drop(endpoint);
    if (reason) deps.suspect(endpoint, reason);
    revision.release(endpoint, false);
    if (again) revision.readmit(again);
  }
  if (!again)
    invocation.refuse(
      new PlatformError("queue_timeout", "The pod was busy and the body is not held any more"),
    );
}

function failed(deps: InvokeDeps, invocation: Invocation, failure: RelayFailure): void {
  const { endpoint, revision } = invocation;
  if (!endpoint) return;
  invocation.endpoint = undefined;
  deps.metrics.upstreamFailures.series({ kind: failure.kind }).value += 1;
  const reason = suspectReason(failure);
  if (reason) deps.suspect(endpoint, reason);
  invocation.failures += 1;
  const again = failure.safeToRepeat && invocation.failures <= MOST_FAILURES ? invocation : undefined;
  if (failure.kind === "connect" || failure.kind === "connect-timeout") revision.fault(endpoint, again);
  else if (failure.kind === "queue-full" || failure.kind === "queue-timeout") revision.rest(endpoint, again);
  else {
    revision.release(endpoint, false);
    if (again) revision.readmit(again);
  }
  if (again) return;
  const streaming = revision.plan?.streaming === true;
  const code = failure.kind === "deadline" && streaming ? "stream_max_duration" : FAILURE_CODES[failure.kind];
  invocation.refuse(new PlatformError(code, failureMessage(code, failure)));
}

function suspectReason(failure: RelayFailure): SuspectReason | undefined {
  switch (failure.kind) {
    case "connect":
    case "connect-timeout":
      return "connect_failed";
    case "reset":
      // A kept connection may end for no other reason than its age.
      return failure.reused && failure.safeToRepeat ? undefined : "reset";
    case "deadline":
    case "response-timeout":
      return "timeout";
    default:
      return undefined;
  }
}

const failureMessage = (code: ErrorCode, failure: RelayFailure): string =>
  code === "body_too_large"
    ? "Cannot accept the request: its body is larger than the function allows"
    : `${ERRORS[code].meaning} (${failure.message})`;

function responseLines(invocation: Invocation, response: ResponseHead): string {
  let lines = `${REQUEST_ID_START}${invocation.requestId}\r\n`;
  if (invocation.corsLines !== undefined) lines += invocation.corsLines;
  if (response.status >= 500) {
    const code = response.header(HEADER_ERROR_CODE);
    if (code !== undefined) lines += `${HEADER_COMPONENT}: function\r\n`;
  }
  return lines;
}

function ended(deps: InvokeDeps, exchange: Exchange): void {
  const { context } = exchange;
  if (!(context instanceof Invocation)) {
    if (context instanceof HeldCall) deps.unready.withdraw(context);
    const facts = isRefused(context) ? context : { code: "", requestId: "" };
    deps.logEnd(exchange, { ...facts, function: "" });
    return;
  }
  const { revision, endpoint } = context;
  if (context.queued) revision.withdraw(context);
  const { plan, tally } = revision;
  if (plan) {
    const { stats } = plan;
    if (exchange.outcome === "client-gone") stats.gone.value += 1;
    else {
      const series = stats.byClass[Math.floor(exchange.status / 100) - 1];
      if (series) series.value += 1;
    }
    stats.latencyMs.observe(exchange.endedAt - exchange.startedAt);
  }
  if (endpoint) {
    context.endpoint = undefined;
    if (exchange.outcome === "upstream-broken") deps.suspect(endpoint, "reset");
    if (exchange.outcome === "timeout" && plan) context.code = cutCode(exchange, plan);
    if (exchange.responded) {
      const heldSinceMs = context.dispatchedAtMs === 0 ? exchange.startedAt : context.dispatchedAtMs;
      revision.service.observe(exchange.endedAt - heldSinceMs, exchange.endedAt);
    }
    revision.release(endpoint, exchange.responded);
  }
  tally.count(exchange, context.code);
  deps.logEnd(exchange, { code: context.code, requestId: context.requestId, function: plan?.slot.key ?? "" });
}

/** Why an answer that had begun was cut off: its status is gone out already, so that the code appears in the log alone. */
function cutCode(exchange: Exchange, plan: ServingPlan): ErrorCode {
  const deadlineMs = exchange.upgrade ? plan.tunnelDeadlineMs : plan.deadlineMs;
  if (deadlineMs === 0 || exchange.endedAt - exchange.startedAt < deadlineMs) return "stream_idle";
  return plan.streaming ? "stream_max_duration" : "function_timeout";
}

const isRefused = (context: unknown): context is Refused =>
  typeof context === "object" && context !== null && "code" in context && "requestId" in context;
