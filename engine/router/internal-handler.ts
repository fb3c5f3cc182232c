import { PlatformError } from "../../api/errors.ts";
import { HEADER_REQUEST_ID, HEADER_ROUTE_MISS } from "../../api/headers.ts";
import { RESERVED_PREFIX } from "../../api/kinds/http-trigger.ts";
import type { ReferenceVerifier } from "../../net/reference-sign.ts";
import { EMPTY_SHA256, sha256Hex, type Verifier } from "../../net/sign.ts";
import type { ForwardedWriter } from "./forwarded.ts";
import type { FunctionSlot, FunctionTable } from "./function-table.ts";
import { BodyError } from "./http/body-error.ts";
import type { Exchange, Handler } from "./http/types.ts";
import type { Invoker } from "./invoke.ts";
import { asyncRefusal } from "./public-handler.ts";
import { requestIdOf, traceparentOf } from "./request-identity.ts";
import { requestLines } from "./request-lines.ts";
import { PLAN_INTERNAL } from "./serving-plan.ts";

export interface InternalHandlerDeps {
  readonly functions: Pick<FunctionTable, "get">;
  readonly invoker: Invoker;
  readonly forwarded: ForwardedWriter;
  readonly verifier: Verifier;
  readonly reference: ReferenceVerifier;
  readonly maxBodyBytes: number;
}

/** Namespace of `/fission-function/<name>`. */
const DEFAULT_NAMESPACE = "default";

/**
 * What the platform's own processes (and clients of the reference system's signatures) call: any function, without a trigger, at
 * `/fission-function/<name>` or `/fission-function/<namespace>/<name>` and below. The body is read whole and checked against the
 * signature before the function sees any of it.
 */
export function internalHandler(deps: InternalHandlerDeps): Handler {
  return {
    ...deps.invoker,
    onRequest: (exchange) => {
      if ((exchange.path === "/healthz" || exchange.path === "/router-healthz") && exchange.method === "GET")
        return exchange.reply(200, "content-type: text/plain\r\n", "ok\n");
      const check = checkHead(deps, exchange);
      if (typeof check === "string") return refuse(deps, exchange, check);
      if (exchange.bodyLength === 0) {
        const reason = check(EMPTY_SHA256);
        return reason === undefined ? callFunction(deps, exchange) : refuse(deps, exchange, reason);
      }
      void checkBody(deps, exchange, check);
    },
  };
}

/** Whether the body's digest is right; the reason when it is not. */
type BodyCheck = (bodySha256: string) => string | undefined;

function checkHead({ verifier, reference }: InternalHandlerDeps, exchange: Exchange): BodyCheck | string {
  const target = exchange.path + exchange.query;
  const { method } = exchange;
  const header = (name: string) => exchange.header(name);
  if (!verifier.claims(header) && reference.claims(header)) {
    return (bodySha256) => {
      const result = reference.verify({ method, target, bodySha256 }, header);
      return result.ok ? undefined : result.reason;
    };
  }
  const result = verifier.verify(method, target, header);
  if (!result.ok) return result.reason;
  return (bodySha256) =>
    bodySha256 === result.bodySha256 ? undefined : "the body is not the one that was signed";
}

async function checkBody(deps: InternalHandlerDeps, exchange: Exchange, check: BodyCheck): Promise<void> {
  try {
    const body = await exchange.readBody(deps.maxBodyBytes);
    if (exchange.state !== "open") return;
    const reason = check(sha256Hex(body));
    if (reason === undefined) callFunction(deps, exchange);
    else refuse(deps, exchange, reason);
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

function callFunction(deps: InternalHandlerDeps, exchange: Exchange): void {
  const found = findFunction(deps.functions, exchange.path);
  if (found instanceof PlatformError)
    return deps.invoker.refuse(exchange, found, `${HEADER_ROUTE_MISS}: 1\r\n`);
  if (exchange.header("x-fission-invoke-mode") === "async")
    return deps.invoker.refuse(exchange, asyncRefusal());
  const requestId = requestIdOf(exchange.header(HEADER_REQUEST_ID));
  const traceparent = traceparentOf(exchange.header("traceparent"), requestId);
  const target = found.rest + exchange.query;
  deps.invoker.call(found.slot, {
    exchange,
    requestId,
    traceparent,
    lines: requestLines(exchange, requestId, traceparent) + deps.forwarded(exchange),
    directTarget: target,
    referenceTarget: target,
    corsLines: undefined,
    planBits: PLAN_INTERNAL,
  });
}

/**
 * The function that a path names and the rest of the path. `/fission-function/a/b` is function "b" of namespace "a" if there is one,
 * else path "/b" of function "a" in the default namespace.
 */
function findFunction(
  functions: Pick<FunctionTable, "get">,
  path: string,
): { slot: FunctionSlot; rest: string } | PlatformError {
  if (!path.startsWith(RESERVED_PREFIX)) return new PlatformError("route_miss");
  const [first = "", second = "", ...more] = path.slice(RESERVED_PREFIX.length).split("/");
  if (first.includes(":") || second.includes(":"))
    return new PlatformError("not_implemented", "Cannot call a version or alias: they are not supported yet");
  const named = functions.get(first, second);
  if (named?.uid !== undefined) return { slot: named, rest: `/${more.join("/")}` };
  const inDefault = functions.get(DEFAULT_NAMESPACE, first);
  if (inDefault?.uid !== undefined)
    return { slot: inDefault, rest: path.slice(RESERVED_PREFIX.length + first.length) || "/" };
  return new PlatformError("function_not_found", `Function of path "${path}" does not exist`);
}
