import { createHash } from "node:crypto";
import { parseDurationMs } from "../../api/duration.ts";
import { PlatformError } from "../../api/errors.ts";
import { HEADER_IDEMPOTENCY_KEY, HEADER_REQUEST_ID } from "../../api/headers.ts";
import { RunView } from "../../api/wire/workflows.ts";
import { parseJson } from "../../net/parse-json.ts";
import type { Exchange } from "./http/types.ts";
import { OWN_PREFIX } from "./own-paths.ts";
import { requestIdOf } from "./request-identity.ts";
import type { RunAddresses } from "./run-address.ts";
import { guarded, JSON_LINES, serviceAnswer, type ServiceCallsDeps } from "./service-calls.ts";

/**
 * What the public listener passes on to the workflow service: routes that start runs, the addresses of such runs, and callbacks. None of it is on the
 * path of functions; bodies are read whole.
 *
 * W1. A start with an `Idempotency-Key` starts one run, however often it is sent: the run's id comes from trigger and key.
 * W2. Who started a run gets its address, which nobody can guess: it is signed. With it the state and the output can be read, nothing else.
 */
export interface WorkflowCalls {
  /** Starts a run of a route's workflow with the request as its input. */
  start(
    exchange: Exchange,
    target: WorkflowTarget,
    params: Readonly<Record<string, string>>,
    lines: string,
  ): void;
  /** Answers a path under `/_isotope/`. @returns whether it is one of the workflows' */
  answer(exchange: Exchange): boolean;
}

/** Which workflow a route starts. */
export interface WorkflowTarget {
  /** `namespace/name` of the trigger. */
  readonly trigger: string;
  readonly namespace: string;
  readonly workflow: string;
  /** How long a call waits for the end of its run when it does not say itself; 0 = it gets the run's address at once. */
  readonly waitMs: number;
}

export interface WorkflowCallsDeps extends ServiceCallsDeps {
  readonly addresses: RunAddresses;
}

const CALLBACKS = `${OWN_PREFIX}callbacks/`;
const RUNS = `${OWN_PREFIX}runs/`;
const TOKEN = /^[A-Za-z0-9._~-]{1,512}$/;
const LONGEST_WAIT_MS = 600_000;
const CALL_MS = 30_000;

export function workflowCalls(deps: WorkflowCallsDeps): WorkflowCalls {
  return {
    start: (exchange, target, params, lines) =>
      guarded(deps, exchange, lines, () => startRun(deps, exchange, target, params, lines)),
    answer: (exchange) => {
      const { path, method } = exchange;
      if (path.startsWith(CALLBACKS)) {
        if (method !== "POST") notAllowed(deps, exchange, "POST");
        else guarded(deps, exchange, "", () => passCallback(deps, exchange));
        return true;
      }
      if (path.startsWith(RUNS)) {
        if (method !== "GET") notAllowed(deps, exchange, "GET");
        else guarded(deps, exchange, "", () => showRun(deps, exchange));
        return true;
      }
      return false;
    },
  };
}

function notAllowed({ refuse }: WorkflowCallsDeps, exchange: Exchange, allowed: string): void {
  const error = new PlatformError(
    "method_not_allowed",
    `Cannot ${exchange.method} this path: allowed is ${allowed}`,
  );
  refuse(exchange, error, `allow: ${allowed}\r\n`);
}

async function startRun(
  deps: WorkflowCallsDeps,
  exchange: Exchange,
  target: WorkflowTarget,
  params: Readonly<Record<string, string>>,
  lines: string,
): Promise<void> {
  const waitMs = waitOf(exchange, target.waitMs);
  const key = exchange.header(HEADER_IDEMPOTENCY_KEY);
  const requestId = requestIdOf(exchange.header(HEADER_REQUEST_ID));
  const { query } = exchange;
  const bytes = await exchange.readBody(deps.maxBodyBytes);
  if (exchange.state !== "open") return;
  const { namespace, workflow } = target;
  const id = key === undefined ? undefined : runIdOf(target.trigger, key);
  const input =
    bytes.length === 0 ? { ...Object.fromEntries(new URLSearchParams(query)), ...params } : parsed(bytes);
  const started = await call(deps, "POST", "/v1/runs", {
    requestId,
    body: { namespace, workflow, id, input, startedBy: `http:${target.trigger}` },
  });
  const run = readRun(started);
  const ended = waitMs === 0 || run.status !== "running" ? run : await waitFor(deps, run, waitMs, exchange);
  if (exchange.state !== "open") return;
  const address = deps.addresses.of({ namespace: run.namespace, id: run.id });
  reply(exchange, ended, `${lines}location: ${address}\r\n`);
}

/** `Prefer: wait=<seconds>` (RFC 7240) before what the route says. */
function waitOf(exchange: Exchange, usualMs: number): number {
  const asked = /(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])/.exec(exchange.headerJoined("prefer") ?? "")?.[1];
  return Math.min(asked === undefined ? usualMs : Number(asked) * 1_000, LONGEST_WAIT_MS);
}

const runIdOf = (trigger: string, key: string): string =>
  `http-${createHash("sha256").update(`${trigger}\n${key}`).digest("base64url").slice(0, 32)}`;

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new PlatformError("bad_request", `Cannot start a run: the body must be JSON, its input; ${why}`);
  }
}

async function waitFor(
  deps: WorkflowCallsDeps,
  run: RunView,
  waitMs: number,
  exchange: Exchange,
): Promise<RunView> {
  const until = performance.now() + waitMs;
  let seen = run;
  while (seen.status === "running" && exchange.state === "open") {
    const leftMs = Math.floor(until - performance.now());
    if (leftMs <= 0) break;
    const path = `/v1/runs/${run.namespace}/${run.id}/wait?timeoutMs=${Math.min(leftMs, CALL_MS / 2)}`;
    seen = readRun(await call(deps, "GET", path, {}));
  }
  return seen;
}

async function showRun(deps: WorkflowCallsDeps, exchange: Exchange): Promise<void> {
  const key = deps.addresses.keyOf(exchange.path);
  if (!key) throw new PlatformError("run_not_found", "No run has this address");
  const waitMs = waitOf(exchange, 0);
  const run = readRun(await call(deps, "GET", `/v1/runs/${key.namespace}/${key.id}`, {}));
  const seen = waitMs === 0 ? run : await waitFor(deps, run, waitMs, exchange);
  if (exchange.state === "open") reply(exchange, seen, "");
}

/**
 * What a caller from outside sees: a run under way as 202, the output of one that succeeded as 200, the error of any other as 502 (it is the workflow's
 * own; its type is in the body).
 */
function reply(exchange: Exchange, run: RunView, lines: string): void {
  const { namespace, id, workflow, status, startedAt, finishedAt } = run;
  const block = `${JSON_LINES}x-isotope-run: ${namespace}/${id}\r\nx-isotope-run-status: ${status}\r\n${lines}`;
  if (status === "succeeded") return exchange.reply(200, block, `${JSON.stringify(run.output ?? null)}\n`);
  const facts = {
    run: { namespace, id },
    workflow,
    status,
    startedAt,
    ...(finishedAt ? { finishedAt } : {}),
  };
  const body = status === "running" ? facts : { ...facts, reason: "run_failed", error: run.error };
  exchange.reply(status === "running" ? 202 : 502, block, `${JSON.stringify(body)}\n`);
}

async function passCallback(deps: WorkflowCallsDeps, exchange: Exchange): Promise<void> {
  const [token = "", rest, ...more] = exchange.path.slice(CALLBACKS.length).split("/");
  const known = TOKEN.test(token) && more.length === 0 && (rest === undefined || rest === "heartbeat");
  if (!known) throw new PlatformError("callback_unknown");
  const bytes = await exchange.readBody(deps.maxBodyBytes);
  if (exchange.state !== "open") return;
  const body = bytes.length === 0 ? { output: null } : parsed(bytes);
  const target = `/v1/callbacks/${token}${rest === undefined ? "" : "/heartbeat"}`;
  await call(deps, "POST", target, rest === undefined ? { body } : {});
  if (exchange.state === "open") exchange.reply(202, JSON_LINES, "{}\n");
}

/** A call of the service. Throws what it refuses with as a `PlatformError`. */
async function call(
  { client }: WorkflowCallsDeps,
  method: "GET" | "POST",
  target: string,
  { body, requestId }: { body?: unknown; requestId?: string },
): Promise<unknown> {
  const headers = {
    ...(body === undefined ? {} : { "content-type": "application/json" }),
    ...(requestId === undefined ? {} : { [HEADER_REQUEST_ID]: requestId }),
  };
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  const answer = await serviceAnswer(
    client,
    { method, target, timeoutMs: CALL_MS, headers, ...sent },
    "workflows",
    "workflows_unavailable",
  );
  return answer.body.length === 0 ? {} : parseJson(answer.body.toString("utf8"));
}

function readRun(answer: unknown): RunView {
  const run = RunView.safeParse(answer);
  if (run.success) return run.data;
  throw new PlatformError(
    "workflows_unavailable",
    `Cannot read the workflow service's answer: ${run.error.message}`,
  );
}

/** The wait that a trigger's annotation asks for. @throws TypeError for what is no duration */
export const waitOfAnnotation = (text: string | undefined): number =>
  text === undefined || text === "" ? 0 : Math.min(parseDurationMs(text), LONGEST_WAIT_MS);
