import { PlatformError } from "../../api/errors.ts";
import {
  HEADER_FIRST_ANSWER,
  HEADER_IDEMPOTENCY_KEY,
  HEADER_REQUEST_ID,
  HEADER_ROUTE_MISS,
} from "../../api/headers.ts";
import { RESERVED_PREFIX } from "../../api/kinds/http-trigger.ts";
import { COUNTERS_PATH, type RevisionCounters } from "../../api/wire/counters.ts";
import type { ReferenceVerifier } from "../../net/reference-sign.ts";
import { EMPTY_SHA256, sha256Hex, type Verifier } from "../../net/sign.ts";
import { type AliasTable, chooseOfAlias } from "./alias-table.ts";
import type { AsyncCalls } from "./async-calls.ts";
import type { FirstAnswers } from "./first-answers.ts";
import type { ForwardedWriter } from "./forwarded.ts";
import type { FunctionSlot, FunctionTable } from "./function-table.ts";
import { BodyError } from "./http/body-error.ts";
import type { Exchange, Handler } from "./http/types.ts";
import type { Invoker } from "./invoke.ts";
import { requestIdOf, traceparentOf } from "./request-identity.ts";
import { requestLines } from "./request-lines.ts";
import { PLAN_INTERNAL } from "./serving-plan.ts";

export interface InternalHandlerDeps {
  readonly functions: Pick<FunctionTable, "get" | "version">;
  readonly aliases: Pick<AliasTable, "get">;
  /** The reply of `GET /v2/counters` for the functions with the given UIDs; undefined = for all. */
  readonly counters: (uids: readonly string[] | undefined) => RevisionCounters;
  readonly invoker: Invoker;
  readonly firstAnswers: FirstAnswers;
  readonly async: AsyncCalls;
  readonly forwarded: ForwardedWriter;
  readonly verifier: Verifier;
  readonly reference: ReferenceVerifier;
  readonly maxBodyBytes: number;
}

/** Namespace of `/fission-function/<name>`. */
const DEFAULT_NAMESPACE = "default";

/**
 * What the platform's own processes (and clients of the reference system's signatures) call: any function, without a trigger, at
 * `/fission-function/<name>` or `/fission-function/<namespace>/<name>` and below, where the name may be followed by `:<alias>` or
 * `:<version>`; and the counters of all revisions. The body is read whole and checked against the
 * signature before the function sees any of it. With `Idempotency-Key` and `X-Isotope-First-Answer: <seconds>` the function's first answer is kept
 * so long, and given to whoever sends the same key again.
 */
export function internalHandler(deps: InternalHandlerDeps): Handler {
  return {
    ...deps.invoker,
    onEnd: (exchange) => {
      deps.invoker.onEnd(exchange);
      deps.firstAnswers.ended(exchange);
    },
    onRequest: (exchange) => {
      if ((exchange.path === "/healthz" || exchange.path === "/router-healthz") && exchange.method === "GET")
        return exchange.reply(200, "content-type: text/plain\r\n", "ok\n");
      const check = checkHead(deps, exchange);
      if (typeof check === "string") return refuse(deps, exchange, check);
      if (exchange.bodyLength === 0) {
        const caller = check(EMPTY_SHA256);
        return typeof caller === "string" ? refuse(deps, exchange, caller) : answer(deps, exchange, caller);
      }
      void checkBody(deps, exchange, check);
    },
  };
}

/** Who calls: the platform itself, or who has the key of one namespace and reaches that one's functions only. */
interface Caller {
  readonly namespace: string | undefined;
}
const PLATFORM: Caller = { namespace: undefined };

/** Who calls, if the body's digest is right; the reason when it is not. */
type BodyCheck = (bodySha256: string) => Caller | string;

function checkHead({ verifier, reference }: InternalHandlerDeps, exchange: Exchange): BodyCheck | string {
  const target = exchange.path + exchange.query;
  const { method } = exchange;
  const header = (name: string) => exchange.header(name);
  if (!verifier.claims(header) && reference.claims(header)) {
    return (bodySha256) => {
      const result = reference.verify({ method, target, bodySha256 }, header);
      return result.ok ? result : result.reason;
    };
  }
  const result = verifier.verify(method, target, header);
  if (!result.ok) return result.reason;
  return (bodySha256) =>
    bodySha256 === result.bodySha256 ? PLATFORM : "the body is not the one that was signed";
}

async function checkBody(deps: InternalHandlerDeps, exchange: Exchange, check: BodyCheck): Promise<void> {
  try {
    const body = await exchange.readBody(deps.maxBodyBytes);
    if (exchange.state !== "open") return;
    const caller = check(sha256Hex(body));
    if (typeof caller === "string") refuse(deps, exchange, caller);
    else answer(deps, exchange, caller, body);
  } catch (error) {
    if (exchange.state !== "open") return;
    const known =
      error instanceof BodyError && error.code === "too-large"
        ? new PlatformError(
            "body_too_large",
            `Cannot accept the call: its body is larger than ${deps.maxBodyBytes} bytes`,
          )
        : new PlatformError("internal", "Cannot read the call", { cause: error });
    deps.invoker.refuse(exchange, known);
  }
}

function refuse({ invoker }: InternalHandlerDeps, exchange: Exchange, reason: string): void {
  invoker.refuse(exchange, new PlatformError("unauthorized", `Cannot accept the call: ${reason}`));
}

function answer(deps: InternalHandlerDeps, exchange: Exchange, caller: Caller, read?: Buffer): void {
  if (caller.namespace !== undefined) return callFunction(deps, exchange, read, caller.namespace);
  if (exchange.path !== COUNTERS_PATH || exchange.method !== "GET") {
    if (!deps.async.passOn(exchange, read)) callFunction(deps, exchange, read);
    return;
  }
  const uids = new URLSearchParams(exchange.query).getAll("uid");
  const body = JSON.stringify(deps.counters(uids.length === 0 ? undefined : uids));
  exchange.reply(200, "content-type: application/json\r\n", body);
}

/** @param only the namespace whose functions may be called; undefined = any */
function callFunction(
  deps: InternalHandlerDeps,
  exchange: Exchange,
  read: Buffer | undefined,
  only?: string,
): void {
  const found = findFunction(deps, exchange);
  const namespace = found instanceof PlatformError ? undefined : found.slot.namespace;
  // Whether a function of another namespace exists is not told either.
  if (only !== undefined && namespace !== only)
    return deps.invoker.refuse(
      exchange,
      new PlatformError(
        "forbidden",
        `Cannot call "${exchange.path}": the key of namespace "${only}" reaches that namespace's functions only`,
      ),
    );
  if (found instanceof PlatformError)
    return deps.invoker.refuse(exchange, found, `${HEADER_ROUTE_MISS}: 1\r\n`);
  const requestId = requestIdOf(exchange.header(HEADER_REQUEST_ID));
  const traceparent = traceparentOf(exchange.header("traceparent"), requestId);
  const target = found.rest + exchange.query;
  const { slot } = found;
  const lines = requestLines(exchange, requestId, traceparent) + deps.forwarded(exchange);
  if (deps.async.wanted(exchange)) {
    const body = read ?? Buffer.alloc(0);
    return deps.async.accept(exchange, {
      slot,
      chosen: found.chosen,
      target,
      source: "http",
      lines,
      corsLines: undefined,
      body,
    });
  }
  const call = () =>
    deps.invoker.call(slot, {
      exchange,
      requestId,
      traceparent,
      lines,
      directTarget: target,
      referenceTarget: target,
      corsLines: undefined,
      planBits: PLAN_INTERNAL,
    });
  const asked = exchange.header(HEADER_FIRST_ANSWER);
  if (asked === undefined) return call();
  const key = exchange.header(HEADER_IDEMPOTENCY_KEY);
  const ttlS = Number(asked);
  if (!key || !Number.isInteger(ttlS) || ttlS < 1)
    return deps.invoker.refuse(
      exchange,
      new PlatformError(
        "bad_request",
        `Cannot keep the first answer: ${HEADER_FIRST_ANSWER} must be a whole number of seconds and ${HEADER_IDEMPOTENCY_KEY} be set, got ${JSON.stringify(asked)} and ${JSON.stringify(key ?? "")}`,
      ),
    );
  deps.firstAnswers.answer(exchange, { slot, key, ttlS, call });
}

interface FoundFunction {
  readonly slot: FunctionSlot;
  readonly rest: string;
  /** The slot's version is what an alias came to. */
  readonly chosen: boolean;
}

/**
 * The function that a path names and the rest of the path. `/fission-function/a/b` is function "b" of namespace "a" if there is one,
 * else path "/b" of function "a" in the default namespace. `b:c` is alias "c" of function "b", or else its version "c".
 */
function findFunction(
  deps: Pick<InternalHandlerDeps, "functions" | "aliases">,
  exchange: Exchange,
): FoundFunction | PlatformError {
  const { path } = exchange;
  if (!path.startsWith(RESERVED_PREFIX)) return new PlatformError("route_miss");
  const [first = "", second = "", ...more] = path.slice(RESERVED_PREFIX.length).split("/");
  const qualified = qualifiedName(second);
  const named = deps.functions.get(first, qualified.name);
  if (named?.uid !== undefined) {
    const slot = qualifiedSlot(deps, exchange, named, qualified.qualifier);
    if (slot instanceof PlatformError) return slot;
    return { slot, rest: `/${more.join("/")}`, chosen: slot.version !== qualified.qualifier };
  }
  const { name, qualifier } = qualifiedName(first);
  const inDefault = deps.functions.get(DEFAULT_NAMESPACE, name);
  if (inDefault?.uid === undefined)
    return new PlatformError("function_not_found", `Function of path "${path}" does not exist`);
  const slot = qualifiedSlot(deps, exchange, inDefault, qualifier);
  const rest = path.slice(RESERVED_PREFIX.length + first.length) || "/";
  return slot instanceof PlatformError ? slot : { slot, rest, chosen: slot.version !== qualifier };
}

/** Splits `name:qualifier`, whose colon may be percent-encoded. */
function qualifiedName(segment: string): { name: string; qualifier: string | undefined } {
  const match = /^(.*?)(?::|%3A)(.*)$/.exec(segment);
  return { name: match?.[1] ?? segment, qualifier: match?.[2] };
}

function qualifiedSlot(
  { functions, aliases }: Pick<InternalHandlerDeps, "functions" | "aliases">,
  exchange: Exchange,
  slot: FunctionSlot,
  qualifier: string | undefined,
): FunctionSlot | PlatformError {
  if (qualifier === undefined) return slot;
  const alias = aliases.get(slot.namespace, slot.name, qualifier);
  if (alias) return chooseOfAlias(alias, exchange, null);
  return (
    functions.version(slot.namespace, slot.name, qualifier) ??
    new PlatformError("version_not_found", `Function "${slot.key}" has no alias or version "${qualifier}"`)
  );
}
