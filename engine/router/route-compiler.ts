import { PlatformError } from "../../api/errors.ts";
import { type RouteClaim, routeClaims, type RoutedTrigger } from "../../api/routes.ts";
import type { Cors } from "./cors.ts";
import { compileCors } from "./cors.ts";
import type { FunctionSlot, FunctionTable } from "./function-table.ts";
import type { Route, RouteTable } from "./http/types.ts";

/** What a matched route needs at a request. One object per claim of a trigger, always of this shape. */
export interface RouteTarget {
  /** `namespace/name` of the trigger. */
  readonly trigger: string;
  readonly slot: FunctionSlot;
  /** Number of leading path segments that are cut off before the function sees the path; -1 = the function sees `/` or the whole path. */
  readonly cutSegments: number;
  /** True for a path that is one route: images of the reference system's contract expect `/` then. */
  readonly wholePath: boolean;
  readonly cors: Cors | null;
  /** Set when calls of this route cannot be served, whatever the function's state. */
  readonly refusal: PlatformError | null;
  /** `x-fission-params-<name>: ` for each variable, filled at the first match. */
  paramPrefixes: readonly string[] | null;
}

/** Path segments of `/a/b/` = 2. */
const segmentCount = (path: string): number => path.split("/").filter((segment) => segment !== "").length;

/** Why a trigger's calls cannot be served by this version of the platform, or null. */
function featureRefusal(trigger: RoutedTrigger): PlatformError | null {
  const { invocationMode, functionref } = trigger.spec;
  const name = `${trigger.metadata.namespace ?? "default"}/${trigger.metadata.name}`;
  const refuse = (what: string) =>
    new PlatformError("not_implemented", `Cannot serve HTTPTrigger "${name}": ${what}`);
  if (invocationMode === "async") return refuse('invocationMode "async" is not supported yet, allowed is ""');
  if (functionref.type !== "name")
    return refuse(`functionref type "${functionref.type}" is not supported yet, allowed is "name"`);
  if (functionref.alias || functionref.version)
    return refuse("functionref alias and version are not supported yet");
  return null;
}

export interface RouteCompilerDeps {
  readonly table: RouteTable<RouteTarget>;
  readonly functions: Pick<FunctionTable, "join" | "leave">;
  /** Told why a trigger (or one claim of it) is not routed. */
  readonly onProblem: (trigger: string, message: string) => void;
}

/** Keeps the route table in step with the HTTPTriggers, one trigger at a time: routes of the others are never touched. */
export class RouteCompiler {
  readonly #deps: RouteCompilerDeps;
  readonly #routes = new Map<string, Route<RouteTarget>[]>();

  constructor(deps: RouteCompilerDeps) {
    this.#deps = deps;
  }

  /** Number of triggers with at least one route. */
  get size(): number {
    return this.#routes.size;
  }

  /** Takes over a trigger as it is now. The new routes are in place before those that it no longer has go. */
  apply(key: string, trigger: RoutedTrigger): void {
    const { table, functions, onProblem } = this.#deps;
    const before = this.#routes.get(key) ?? [];
    const kept = new Set<string>();
    const routes: Route<RouteTarget>[] = [];
    const { claims, problem } = routeClaims(trigger);
    if (problem) onProblem(key, problem.message);
    for (const claim of claims) {
      const route = this.#route(claim, trigger);
      const refused = table.set(route);
      if (refused) {
        onProblem(key, refused.message);
        functions.leave(route.payload.slot);
        continue;
      }
      kept.add(route.id);
      routes.push(route);
    }
    if (routes.length > 0) this.#routes.set(key, routes);
    else this.#routes.delete(key);
    this.#drop(before, kept);
  }

  remove(key: string): void {
    const before = this.#routes.get(key) ?? [];
    this.#routes.delete(key);
    this.#drop(before, new Set());
  }

  #drop(routes: readonly Route<RouteTarget>[], kept: ReadonlySet<string>): void {
    for (const route of routes) {
      if (!kept.has(route.id)) this.#deps.table.remove(route.id);
      this.#deps.functions.leave(route.payload.slot);
    }
  }

  #route(claim: RouteClaim, trigger: RoutedTrigger): Route<RouteTarget> {
    const { metadata, spec } = trigger;
    return {
      id: claim.id,
      host: claim.host,
      methods: claim.methods,
      path: claim.path,
      prefix: claim.prefix,
      order: claim.order,
      payload: {
        trigger: claim.trigger,
        slot: this.#deps.functions.join(metadata.namespace ?? "default", spec.functionref.name),
        cutSegments: claim.prefix && spec.keepPrefix !== true ? segmentCount(claim.path) : -1,
        wholePath: !claim.prefix,
        cors: this.#cors(claim, trigger),
        refusal: featureRefusal(trigger),
        paramPrefixes: null,
      },
    };
  }

  #cors(claim: RouteClaim, trigger: RoutedTrigger): Cors | null {
    if (!trigger.spec.corsConfig) return null;
    try {
      return compileCors(trigger.spec.corsConfig, claim.methods);
    } catch (error) {
      this.#deps.onProblem(claim.trigger, error instanceof Error ? error.message : String(error));
      return null;
    }
  }
}
