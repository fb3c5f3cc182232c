import { PlatformError } from "../../../api/errors.ts";
import { HEADER_FIRST_ANSWER } from "../../../api/headers.ts";
import { NO_WORKFLOW_SERVICE } from "../../../api/workflow-errors.ts";
import type { SignedClient } from "../../../net/signed-client.ts";
import { chooseTarget } from "./choose-target.ts";
import type { Deliver, DeliverOptions, Outcome, Target, TriggerEvent } from "./event.ts";
import { failed, OVERLOAD_PAUSE_MS, outcomeOf, overloaded, rejected } from "./outcome.ts";
import { readAnswer } from "./read-answer.ts";
import { requestHeaders } from "./request-headers.ts";
import { startRun } from "./start-run.ts";

export interface DeliverDeps {
  /** The router's internal listener. */
  readonly router: Pick<SignedClient, "send">;
  /** The workflow service, if there is one. */
  readonly workflows: Pick<SignedClient, "send"> | undefined;
}

/** How long the router keeps an answer for the case that whoever asked is gone before it is stored: lease and sweep, and some more. */
const FIRST_ANSWER_TTL_S = 120;
/** Beyond what the function has: the router answers first. */
const ANSWER_MARGIN_MS = 1_000;
const METHOD = /^(?!CONNECT$|TRACE$)[A-Z][A-Z-]{0,15}$/;
/** Delivers through the router's internal listener, or starts a run. */
export function deliverer(deps: DeliverDeps): Deliver {
  return async (target, event, options) => {
    const chosen = chooseTarget(target, event.id);
    const { workflows } = deps;
    // Nobody is away who might come back: the tries run out, and the dead letter says why.
    if (chosen.type === "workflow" && !workflows)
      return failed(0, "workflows_unavailable", `Workflows are not installed. ${NO_WORKFLOW_SERVICE}`);
    const call =
      chosen.type === "workflow" && workflows
        ? (signal: AbortSignal) => startRun(workflows, chosen.name, event, signal)
        : (signal: AbortSignal) => callFunction(deps.router, chosen, event, options, signal);
    return guarded(call, options);
  };
}

/** Everything but the end that the caller wishes is an outcome. */
async function guarded(
  call: (signal: AbortSignal) => Promise<Outcome>,
  { signal, timeoutMs }: DeliverOptions,
): Promise<Outcome> {
  const timeout = AbortSignal.timeout(timeoutMs + ANSWER_MARGIN_MS);
  try {
    return await call(AbortSignal.any([timeout, signal]));
  } catch (error) {
    signal.throwIfAborted();
    if (timeout.aborted)
      return failed(0, "function_timeout", `The function did not answer within ${timeoutMs} ms`);
    if (error instanceof RangeError) return rejected(0, "function_error", error.message);
    if (error instanceof PlatformError && neverConnected(error))
      return overloaded(0, error.code, error.message, OVERLOAD_PAUSE_MS);
    // The connection broke in the middle: whether the function has done its work is unknown.
    return failed(0, "function_error", error instanceof Error ? error.message : String(error));
  }
}

/** Nobody listened, so that nothing of the call has run. */
function neverConnected({ cause }: PlatformError): boolean {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return code === "ECONNREFUSED" || code === "ENOTFOUND" || code === "UND_ERR_CONNECT_TIMEOUT";
}

async function callFunction(
  router: DeliverDeps["router"],
  target: Target,
  event: TriggerEvent,
  { attempt, timeoutMs, anew }: DeliverOptions,
  signal: AbortSignal,
): Promise<Outcome> {
  const asked = event.method.toUpperCase();
  const method = METHOD.test(asked) ? asked : "POST";
  const qualifier = target.version ?? target.alias;
  const name = qualifier ? `${target.name}:${qualifier}` : target.name;
  const path = event.path.startsWith("/") ? event.path : `/${event.path}`;
  const reply = await router.send({
    method,
    target: `/fission-function/${event.namespace}/${name}${path}`,
    headers: {
      ...requestHeaders(target, event, attempt),
      ...(anew === true ? {} : { [HEADER_FIRST_ANSWER]: String(FIRST_ANSWER_TTL_S) }),
    },
    ...(event.body.length === 0 ? {} : { body: event.body }),
    timeoutMs: timeoutMs + 2 * ANSWER_MARGIN_MS,
    signal,
  });
  return outcomeOf(reply, await readAnswer(reply.body));
}
