/**
 * What the fetcher does with a request: one with `x-isotope-pod` is for the function, any other is a call to the fetcher itself. The
 * router's HTTP core carries both.
 */
import {
  HEADER_ERROR_CODE,
  HEADER_FUNCTION_UID,
  HEADER_POD,
  HEADER_REFUSED,
  HEADER_REVISION,
  HEADER_TIMEOUT_MS,
  type PodRefusal,
} from "../../api/headers.ts";
import { BodyError } from "../../engine/router/http/body-error.ts";
import { compileHeaderFilter } from "../../engine/router/http/header-filter.ts";
import type { Exchange, Handler, RelayFailure, RelayPlan, Upstream } from "../../engine/router/http/types.ts";
import { type ControlOwner, control } from "./control.ts";
import { type Assignment, admit, refusalStatus, release } from "./pod.ts";

export interface HandlerOptions extends ControlOwner {
  readonly runtime: Upstream;
  readonly log: (message: string) => void;
  /** Called after each request that ended. */
  readonly onEnd: () => void;
}

/** The router keeps all limits of time and size; here only what it cannot see. */
const RELAY_PLAN: RelayPlan = {
  requestFilter: compileHeaderFilter({ strip: [], stripPrefixes: ["x-isotope-"] }),
  // What only the platform may say: a runtime's own words are the function's.
  responseFilter: compileHeaderFilter({ strip: [], stripPrefixes: ["x-isotope-"] }),
  refusalHeader: "",
  expectContinue: false,
  connectTimeoutMs: 5_000,
  responseTimeoutMs: 0,
  idleTimeoutMs: 0,
  maxBodyBytes: Number.MAX_SAFE_INTEGER,
  allowUpgrade: true,
};
const MOST_ATTEMPTS = 3;

/** Context of an exchange that a function handles. */
class Call {
  readonly assignment: Assignment;
  constructor(assignment: Assignment) {
    this.assignment = assignment;
  }
}

export function fetcherHandler(options: HandlerOptions): Handler {
  return {
    onRequest: (exchange) => {
      const podUid = exchange.header(HEADER_POD);
      if (podUid === undefined) void answerControl(options, exchange);
      else call(options, exchange, podUid);
    },
    onRefused: () => undefined,
    onFailed: (exchange, failure) => failed(options, exchange, failure),
    onResponse: () => "",
    onDeadline: (exchange) => timedOut(exchange),
    onEnd: ({ context }) => {
      if (context instanceof AbortController) context.abort();
      if (!(context instanceof Call)) return;
      release(context.assignment);
      options.onEnd();
    },
  };
}

function call({ pod, runtime }: HandlerOptions, exchange: Exchange, podUid: string): void {
  const admitted = admit(pod, podUid, exchange.header(HEADER_FUNCTION_UID), exchange.header(HEADER_REVISION));
  if (typeof admitted === "string") return refuse(exchange, admitted);
  exchange.context = new Call(admitted);
  const timeoutMs = Number(exchange.header(HEADER_TIMEOUT_MS) ?? 0);
  if (timeoutMs > 0) exchange.setDeadline(timeoutMs);
  exchange.relay(runtime, exchange.path + exchange.query, "", RELAY_PLAN);
}

const refuse = (exchange: Exchange, reason: PodRefusal): void =>
  exchange.reply(refusalStatus(reason), `${HEADER_REFUSED}: ${reason}\r\n`);

function failed({ pod, runtime, log }: HandlerOptions, exchange: Exchange, failure: RelayFailure): void {
  switch (failure.kind) {
    case "connect":
    case "closed":
      // Nothing was sent, so the request may go to another pod; this one has lost its runtime.
      if (!pod.failed) log(`The runtime takes no connections: ${failure.message}`);
      pod.failed = true;
      return refuse(exchange, "not-specialised");
    case "connect-timeout":
    case "queue-full":
    case "queue-timeout":
      return refuse(exchange, "busy");
    case "deadline":
    case "response-timeout":
      return timedOut(exchange);
    case "bad-response":
      return error(
        exchange,
        502,
        "bad_upstream",
        `The runtime's answer is not valid HTTP: ${failure.message}`,
      );
    case "body-too-large":
      return error(exchange, 413, "body_too_large", failure.message);
    case "reset":
      if (failure.reused && failure.safeToRepeat && exchange.attempts < MOST_ATTEMPTS)
        return exchange.relay(runtime, exchange.path + exchange.query, "", RELAY_PLAN);
      // As a pod that dies: the router knows what to do.
      log(`The runtime broke off a request: ${failure.message}`);
      return exchange.abort();
  }
}

function timedOut(exchange: Exchange): void {
  error(exchange, 504, "function_timeout", "The function did not answer in time");
}

function error(exchange: Exchange, status: number, reason: string, message: string): void {
  const body = JSON.stringify({ component: "function", reason, message });
  exchange.reply(status, `${HEADER_ERROR_CODE}: ${reason}\r\ncontent-type: application/json\r\n`, body);
}

async function answerControl(options: HandlerOptions, exchange: Exchange): Promise<void> {
  const left = new AbortController();
  exchange.context = left;
  let status = 500;
  let body: unknown;
  try {
    ({ status, body } = await control(options, exchange, left.signal));
  } catch (problem) {
    if (problem instanceof BodyError && problem.code !== "too-large") return;
    const message = problem instanceof Error ? problem.message : String(problem);
    status = problem instanceof BodyError ? 413 : 500;
    body = {
      component: "fetcher",
      reason: problem instanceof BodyError ? "body_too_large" : "internal",
      message,
    };
  }
  if (exchange.state !== "open") return;
  exchange.reply(status, "content-type: application/json\r\n", JSON.stringify(body));
}
