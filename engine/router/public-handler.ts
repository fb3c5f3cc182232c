import { PlatformError } from "../../api/errors.ts";
import { HEADER_REQUEST_ID, HEADER_ROUTE_MISS } from "../../api/headers.ts";
import type { AsyncCalls } from "./async-calls.ts";
import type { ForwardedWriter } from "./forwarded.ts";
import type { FunctionSlot } from "./function-table.ts";
import type { Exchange, Handler, RouteTable } from "./http/types.ts";
import type { Invoker } from "./invoke.ts";
import { OWN_PREFIX, type OwnPaths } from "./own-paths.ts";
import type { PreviewHosts } from "./preview-host.ts";
import { requestIdOf, traceparentOf } from "./request-identity.ts";
import { cutSegments, paramLines, paramPrefixes, requestLines } from "./request-lines.ts";
import type { RouteTarget } from "./route-compiler.ts";
import { PLAN_CORS } from "./serving-plan.ts";
import type { WorkflowCalls } from "./workflow-calls.ts";

export interface PublicHandlerDeps {
  readonly table: Pick<RouteTable<RouteTarget>, "match">;
  readonly invoker: Invoker;
  readonly ownPaths: OwnPaths;
  readonly preview: PreviewHosts | null;
  readonly workflows: WorkflowCalls;
  readonly async: AsyncCalls;
  readonly forwarded: ForwardedWriter;
}

/** What anybody may call: the addresses of versions, the router's own paths, then the routes of HTTPTriggers. `/fission-function/` is never among them. */
export function publicHandler(deps: PublicHandlerDeps): Handler {
  const { table, invoker, ownPaths, preview, workflows } = deps;
  return {
    ...invoker,
    onRequest: (exchange) => {
      if (preview !== null && preview.claims(exchange.hostname))
        return callRoute(deps, exchange, preview.target, [], []);
      if (exchange.path.startsWith(OWN_PREFIX)) {
        if (!workflows.answer(exchange) && !deps.async.answer(exchange)) routeMiss(invoker, exchange);
        return;
      }
      if (exchange.method === "OPTIONS" && answerPreflight(deps, exchange)) return;
      const match = table.match(exchange.method, exchange.hostname, exchange.path);
      if (match.kind === "route")
        return callRoute(deps, exchange, match.route.payload, match.names, match.params);
      if (ownPaths.answer(exchange)) return;
      if (match.kind === "method") {
        const error = new PlatformError(
          "method_not_allowed",
          `Cannot ${exchange.method} this path: allowed are ${match.allow}`,
        );
        return invoker.refuse(exchange, error, `allow: ${match.allow}\r\n`);
      }
      if (ownPaths.answerRoot(exchange)) return;
      routeMiss(invoker, exchange);
    },
  };
}

const routeMiss = (invoker: Invoker, exchange: Exchange): void =>
  invoker.refuse(exchange, new PlatformError("route_miss"), `${HEADER_ROUTE_MISS}: 1\r\n`);

function callRoute(
  deps: PublicHandlerDeps,
  exchange: Exchange,
  target: RouteTarget,
  names: readonly string[],
  params: readonly string[],
): void {
  const requestId = requestIdOf(exchange.header(HEADER_REQUEST_ID));
  const traceparent = traceparentOf(exchange.header("traceparent"), requestId);
  const corsLines = target.cors === null ? undefined : target.cors.response(exchange.header("origin"));
  if (target.workflow !== null)
    return deps.workflows.start(exchange, target.workflow, variables(names, params), corsLines ?? "");
  let lines = requestLines(exchange, requestId, traceparent) + deps.forwarded(exchange);
  if (params.length > 0) {
    target.paramPrefixes ??= paramPrefixes(names);
    lines += paramLines(target.paramPrefixes, params);
  }
  const path = target.cutSegments > 0 ? cutSegments(exchange.path, target.cutSegments) : exchange.path;
  const directTarget = exchange.query === "" ? path : path + exchange.query;
  const slot = target.slot ?? chosenSlot(deps, exchange, target, corsLines);
  if (slot === undefined) return;
  if (target.async || deps.async.wanted(exchange))
    return deps.async.accept(exchange, {
      slot,
      chosen: target.slot === null,
      target: directTarget,
      source: target.trigger === "" ? "http" : `http/${target.trigger}`,
      lines,
      corsLines,
    });
  deps.invoker.call(slot, {
    exchange,
    requestId,
    traceparent,
    lines,
    directTarget,
    referenceTarget: target.wholePath ? `/${exchange.query}` : directTarget,
    corsLines,
    planBits: corsLines === undefined ? 0 : PLAN_CORS,
  });
}

function variables(names: readonly string[], values: readonly string[]): Record<string, string> {
  const decoded = (value: string): string => {
    try {
      return decodeURIComponent(value);
    } catch {
      return value;
    }
  };
  return Object.fromEntries(names.map((name, at) => [name, decoded(values[at] ?? "")]));
}

/** The slot that a request with a choice goes to; undefined when it was refused. */
function chosenSlot(
  { invoker }: PublicHandlerDeps,
  exchange: Exchange,
  { choose }: RouteTarget,
  corsLines: string | undefined,
): FunctionSlot | undefined {
  const chosen = choose?.(exchange) ?? new PlatformError("function_not_found");
  if (!(chosen instanceof PlatformError)) return chosen;
  invoker.refuse(exchange, chosen, corsLines);
  return undefined;
}

/**
 * Answers a CORS preflight for a route with a corsConfig. One for a route without goes to the function if the route takes OPTIONS: it
 * may do CORS itself.
 */
function answerPreflight({ table, invoker }: PublicHandlerDeps, exchange: Exchange): boolean {
  const method = exchange.header("access-control-request-method")?.toUpperCase();
  const origin = exchange.header("origin");
  if (method === undefined || origin === undefined) return false;
  const match = table.match(method, exchange.hostname, exchange.path);
  const cors =
    match.kind === "route"
      ? match.route.payload.cors
      : match.kind === "method"
        ? (match.routes.find((route) => route.payload.cors !== null)?.payload.cors ?? null)
        : null;
  if (cors === null) return false;
  const lines = cors.preflight(origin, method, exchange.headerJoined("access-control-request-headers"));
  if (lines === undefined) invoker.refuse(exchange, new PlatformError("cors_denied"), "vary: Origin\r\n");
  else exchange.reply(204, lines);
  return true;
}
