import { parseDurationMs } from "../../api/duration.ts";
import { PlatformError } from "../../api/errors.ts";
import { HEADER_REQUEST_ID, HEADER_ROUTE_MISS } from "../../api/headers.ts";
import { messageHead } from "../../api/wire/frames.ts";
import {
  INVOCATION_CONTENT_TYPE,
  InvocationAccepted,
  InvocationView,
  type NewInvocation,
} from "../../api/wire/invocations.ts";
import { parseJson } from "../../net/parse-json.ts";
import type { SignedReply } from "../../net/signed-client.ts";
import type { FunctionSlot } from "./function-table.ts";
import { compileHeaderFilter, isHeaderValue } from "./http/header-filter.ts";
import type { Exchange } from "./http/types.ts";
import type { InvocationAddresses } from "./invocation-address.ts";
import { OWN_PREFIX } from "./own-paths.ts";
import { INTERNAL_REQUEST_RULE, PUBLIC_REQUEST_RULE } from "./request-lines.ts";
import {
  bytesOf,
  guarded,
  JSON_LINES,
  SAFE_LINES,
  serviceAnswer,
  type ServiceCallsDeps,
} from "./service-calls.ts";

/**
 * Calls that are to be delivered later: they are passed on to the trigger service, which keeps them, and answered as soon as they are durable. None of
 * it is on the path of functions; bodies are read whole.
 *
 * A1. A call is answered 202 only after the trigger service said that it is kept; whatever is unclear is an error, and the caller tries again.
 * A2. Who made an invocation gets its address, which nobody can guess: it is signed. With it the invocation can be read and cancelled.
 */
export interface AsyncCalls {
  /** Whether a caller asks for anything but to wait for its answer; `accept` refuses what there is not. */
  wanted(exchange: Exchange): boolean;
  accept(exchange: Exchange, call: AsyncCall): void;
  /** Answers a path under `/_isotope/`. @returns whether it is an invocation's */
  answer(exchange: Exchange): boolean;
  /** Passes a signed call of the reference system's on as it is. @returns whether it is one of those */
  passOn(exchange: Exchange, body: Buffer | undefined): boolean;
}

export interface AsyncCall {
  readonly slot: FunctionSlot;
  /** The caller did not ask for the slot's version: it is what the choice came to. */
  readonly chosen: boolean;
  /** Below the function, with the query. */
  readonly target: string;
  /** `http/<trigger>`, or `http`. */
  readonly source: string;
  /** Header lines that the platform adds, and those of the answer. */
  readonly lines: string;
  readonly corsLines: string | undefined;
  /** Of a signed call, whose body was read already. */
  readonly body?: Buffer | undefined;
}

export interface AsyncCallsDeps extends ServiceCallsDeps {
  readonly addresses: InvocationAddresses;
}

const RESULT = "/result";
const INVOCATIONS = `${OWN_PREFIX}invocations/`;
const PASSED_ON = ["/v1/async/dlq/", "/v1/eventing/topic/"];
const HEADER_DELAY = "x-isotope-delay";
const HEADER_MODE = "x-fission-invoke-mode";
const CALL_MS = 60_000;
const OWN_HEADERS = new Set(["connection", "content-length", "host", "transfer-encoding", "expect"]);
const PUBLIC = compileHeaderFilter(PUBLIC_REQUEST_RULE);
const INTERNAL = compileHeaderFilter(INTERNAL_REQUEST_RULE);

export function asyncCalls(deps: AsyncCallsDeps): AsyncCalls {
  return {
    wanted: (exchange) => {
      const mode = exchange.header(HEADER_MODE);
      return mode !== undefined && mode.toLowerCase() !== "sync";
    },
    accept: (exchange, call) =>
      guarded(deps, exchange, call.corsLines ?? "", () => acceptCall(deps, exchange, call)),
    answer: (exchange) => {
      const { path, method } = exchange;
      if (!path.startsWith(INVOCATIONS)) return false;
      const ofResult = path.endsWith(RESULT);
      const allowed = ofResult ? ["GET"] : ["GET", "DELETE"];
      if (!allowed.includes(method)) {
        const error = new PlatformError(
          "method_not_allowed",
          `Cannot ${method} an invocation${ofResult ? "'s result" : ""}: allowed are ${allowed.join(", ")}`,
        );
        deps.refuse(exchange, error, `allow: ${allowed.join(", ")}\r\n`);
      } else
        guarded(deps, exchange, "", () =>
          ofResult ? showResult(deps, exchange) : showInvocation(deps, exchange),
        );
      return true;
    },
    passOn: (exchange, body) => {
      if (!PASSED_ON.some((prefix) => exchange.path.startsWith(prefix))) return false;
      guarded(deps, exchange, "", () => passCallOn(deps, exchange, body));
      return true;
    },
  };
}

async function acceptCall(deps: AsyncCallsDeps, exchange: Exchange, call: AsyncCall): Promise<void> {
  const { slot } = call;
  checkMode(exchange.header(HEADER_MODE));
  if (slot.uid === undefined) return deps.refuse(exchange, missing(slot), `${HEADER_ROUTE_MISS}: 1\r\n`);
  const head = newInvocation(exchange, call);
  const body = call.body ?? (await exchange.readBody(deps.maxBodyBytes));
  if (exchange.state !== "open") return;
  if (body.length > deps.maxBodyBytes)
    throw new PlatformError(
      "body_too_large",
      `Cannot accept the call: its body may have ${deps.maxBodyBytes} bytes, got ${body.length}`,
    );
  const answer = await send(deps, "POST", "/v1/invocations", {
    type: INVOCATION_CONTENT_TYPE,
    body: Buffer.concat([messageHead(head), body]),
  });
  const { invocationId } = read(InvocationAccepted, answer);
  if (exchange.state !== "open") return;
  const address = deps.addresses.of({ namespace: slot.namespace, id: invocationId });
  const lines = `${JSON_LINES}location: ${address}\r\nx-fission-invocation-id: ${invocationId}\r\n`;
  exchange.reply(202, lines + (call.corsLines ?? ""), `${JSON.stringify({ invocationId })}\n`);
}

const missing = ({ namespace, name, version }: FunctionSlot): PlatformError =>
  version === ""
    ? new PlatformError("function_not_found", `Function "${namespace}/${name}" does not exist`)
    : new PlatformError("version_not_found", `Function "${namespace}/${name}" has no version "${version}"`);

function newInvocation(exchange: Exchange, call: AsyncCall): NewInvocation {
  const { slot } = call;
  const dedupKey = exchange.header("x-fission-dedup-key") ?? exchange.header("idempotency-key");
  const delay = exchange.header(HEADER_DELAY);
  return {
    namespace: slot.namespace,
    target: { type: "name", name: slot.name, ...(slot.version === "" ? {} : { version: slot.version }) },
    ...(call.chosen && slot.version !== "" ? { pinned: true } : {}),
    method: exchange.method,
    path: call.target,
    headers: headersOf(exchange, call),
    source: call.source,
    ...(dedupKey === undefined ? {} : { dedupKey }),
    ...(delay === undefined ? {} : { delayMs: delayOf(delay) }),
  };
}

function checkMode(mode = "async"): void {
  if (["async", "sync"].includes(mode.toLowerCase())) return;
  throw new PlatformError(
    "bad_request",
    `Cannot accept the call: X-Fission-Invoke-Mode must be async or sync, got ${JSON.stringify(mode)}`,
  );
}

function delayOf(text: string): number {
  try {
    return parseDurationMs(text);
  } catch (cause) {
    throw new PlatformError(
      "bad_request",
      `Cannot accept the call: X-Isotope-Delay must be a duration such as 30s or 1h30m, got ${JSON.stringify(text)}`,
      { cause },
    );
  }
}

/** What the function is to get: the caller's own headers that may pass, then what the platform adds. */
function headersOf(exchange: Exchange, { body, lines }: AsyncCall): Record<string, string> {
  const filter = body === undefined ? PUBLIC : INTERNAL;
  const headers: Record<string, string> = {};
  exchange.eachHeader((sent, value) => {
    const name = sent.toLowerCase();
    if (OWN_HEADERS.has(name) || filter.strips(name)) return;
    const before = headers[name];
    headers[name] = before === undefined ? value : `${before}${name === "cookie" ? "; " : ", "}${value}`;
  });
  for (const line of lines.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return headers;
}

async function showInvocation(deps: AsyncCallsDeps, exchange: Exchange): Promise<void> {
  const path = pathOf(deps, exchange.path);
  const answer =
    exchange.method === "GET"
      ? await send(deps, "GET", path, {})
      : await send(deps, "POST", `${path}/cancel`, {});
  const { id, status, acceptedAt, dueAt, endedAt, tries, lastError, result } = read(InvocationView, answer);
  if (exchange.state !== "open") return;
  const under = status === "queued" || status === "running";
  const body = { invocationId: id, status, acceptedAt, dueAt, endedAt, tries, lastError, result };
  exchange.reply(under ? 202 : 200, JSON_LINES, `${JSON.stringify(body)}\n`);
}

/** What the function answered, as it answered: the way to results that are too large to be shown. */
async function showResult(deps: AsyncCallsDeps, exchange: Exchange): Promise<void> {
  const path = pathOf(deps, exchange.path.slice(0, -RESULT.length));
  const { headers, body } = await answerOf(deps, "GET", path + RESULT, {});
  if (exchange.state !== "open") return;
  const given = headers["content-type"];
  const type = typeof given === "string" && isHeaderValue(given) ? given : "application/octet-stream";
  const status = `x-isotope-status: ${Number(headers["x-isotope-status"])}\r\n`;
  exchange.reply(200, `content-type: ${type}\r\n${SAFE_LINES}${status}`, body);
}

/** The service's path of an invocation. @throws {PlatformError} invocation_not_found */
function pathOf({ addresses }: AsyncCallsDeps, path: string): string {
  const key = addresses.keyOf(path);
  if (!key) throw new PlatformError("invocation_not_found", "No invocation has this address");
  return `/v1/invocations/${key.namespace}/${key.id}`;
}

async function passCallOn(
  { client }: AsyncCallsDeps,
  exchange: Exchange,
  body: Buffer | undefined,
): Promise<void> {
  const { method } = exchange;
  if (method !== "GET" && method !== "POST")
    throw new PlatformError(
      "method_not_allowed",
      `Cannot ${method} ${exchange.path}: allowed are GET and POST`,
    );
  const type = exchange.header("content-type");
  const reply = await client.send({
    method,
    target: exchange.path + exchange.query,
    timeoutMs: CALL_MS,
    headers: type === undefined ? {} : { "content-type": type },
    ...(body && body.length > 0 ? { body } : {}),
  });
  const text = await bytesOf(reply.body);
  if (exchange.state === "open") exchange.reply(reply.status, JSON_LINES, text);
}

interface Sent {
  readonly type?: string;
  readonly body?: Uint8Array;
  readonly requestId?: string;
}

/** A call of the service that it answers with JSON. Throws what it refuses with as a `PlatformError`. */
async function send(
  deps: AsyncCallsDeps,
  method: "GET" | "POST",
  target: string,
  sent: Sent,
): Promise<unknown> {
  const { body } = await answerOf(deps, method, target, sent);
  return body.length === 0 ? {} : parseJson(body.toString("utf8"));
}

function answerOf(
  { client }: AsyncCallsDeps,
  method: "GET" | "POST",
  target: string,
  { type, body, requestId }: Sent,
): Promise<{ headers: SignedReply["headers"]; body: Buffer }> {
  const headers = {
    ...(type === undefined ? {} : { "content-type": type }),
    ...(requestId === undefined ? {} : { [HEADER_REQUEST_ID]: requestId }),
  };
  const call = { method, target, timeoutMs: CALL_MS, headers, ...(body === undefined ? {} : { body }) };
  return serviceAnswer(client, call, "triggers", "triggers_unavailable");
}

function read<T>(
  shape: { safeParse(value: unknown): { success: true; data: T } | { success: false; error: Error } },
  answer: unknown,
): T {
  const result = shape.safeParse(answer);
  if (result.success) return result.data;
  throw new PlatformError(
    "triggers_unavailable",
    `Cannot read the trigger service's answer: ${result.error.message}`,
  );
}
