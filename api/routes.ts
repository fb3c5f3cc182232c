import type { CorsConfig } from "./kinds/http-trigger.ts";
import { RESERVED_PATHS, RESERVED_PREFIX } from "./kinds/http-trigger.ts";
import type { FunctionReference } from "./kinds/references.ts";

/*
 * What an HTTPTrigger claims: pure, so that the router (which serves it) and the controller (which writes its conditions) agree.
 * Of two triggers that claim the same, the older wins, then the smaller `namespace/name`; the loser serves as soon as the winner is gone.
 */

/** The part of an HTTPTrigger that matters for routing. */
export interface RoutedTrigger {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly creationTimestamp?: string | undefined;
    readonly annotations?: Readonly<Record<string, string>> | undefined;
  };
  readonly spec: {
    readonly host?: string | undefined;
    readonly relativeurl?: string | undefined;
    readonly prefix?: string | undefined;
    readonly keepPrefix?: boolean | undefined;
    readonly method?: string | undefined;
    readonly methods?: readonly string[] | undefined;
    readonly invocationMode?: string | undefined;
    readonly functionref: FunctionReference;
    readonly routeConfig?: { readonly hostnames?: readonly string[] | undefined } | undefined;
    readonly corsConfig?: CorsConfig | undefined;
  };
}

/** One claim: a host (or any) and a path or path prefix. A trigger makes one for each of its hosts and paths. */
export interface RouteClaim {
  /** Unique: `namespace/name`, host and kind of path. */
  readonly id: string;
  /** `namespace/name` of the trigger. */
  readonly trigger: string;
  readonly host: string | undefined;
  /** Upper case; empty = every method. */
  readonly methods: readonly string[];
  readonly path: string;
  readonly prefix: boolean;
  /** Creation time in ms: the smaller wins. */
  readonly order: number;
}

export interface ClaimProblem {
  /** Reason of the condition RouteAdmitted=False. */
  readonly reason: "InvalidRouteTemplate" | "NoPath";
  readonly message: string;
}

/** All claims of a trigger, or why it has none. Syntax of `{var}` templates is not checked here. */
export function routeClaims(trigger: RoutedTrigger): {
  claims: RouteClaim[];
  problem: ClaimProblem | undefined;
} {
  const { metadata, spec } = trigger;
  const key = `${metadata.namespace ?? "default"}/${metadata.name}`;
  const exact = spec.relativeurl ?? "";
  const prefix = spec.prefix ?? "";
  if (exact === "" && prefix === "")
    return {
      claims: [],
      problem: {
        reason: "NoPath",
        message: `Cannot route "${key}": one of relativeurl and prefix is needed`,
      },
    };
  const problem = pathProblem(key, "relativeurl", exact) ?? pathProblem(key, "prefix", prefix);
  if (problem) return { claims: [], problem };
  const order = Date.parse(metadata.creationTimestamp ?? "");
  const shared = {
    trigger: key,
    methods: methodsOf(spec.methods, spec.method),
    order: Number.isNaN(order) ? Number.MAX_SAFE_INTEGER : order,
  };
  const claims: RouteClaim[] = [];
  for (const host of hostsOf(trigger)) {
    const id = `${key}|${host ?? "*"}`;
    if (exact !== "") claims.push({ ...shared, id: `${id}|exact`, host, path: exact, prefix: false });
    if (prefix !== "") claims.push({ ...shared, id: `${id}|prefix`, host, path: prefix, prefix: true });
  }
  return { claims, problem: undefined };
}

function methodsOf(methods: readonly string[] | undefined, method: string | undefined): string[] {
  const all = new Set((methods ?? []).map((name) => name.toUpperCase()));
  if (method !== undefined && method !== "") all.add(method.toUpperCase());
  return [...all];
}

function hostsOf(trigger: RoutedTrigger): (string | undefined)[] {
  const hosts = new Set((trigger.spec.routeConfig?.hostnames ?? []).map((host) => host.toLowerCase()));
  if (trigger.spec.host) hosts.add(trigger.spec.host.toLowerCase());
  return hosts.size === 0 ? [undefined] : [...hosts];
}

/** The rules that admission enforces, once more: a router must not depend on it. */
function pathProblem(trigger: string, field: string, path: string): ClaimProblem | undefined {
  const reason = badPath(path);
  if (path === "" || reason === undefined) return undefined;
  return {
    reason: "InvalidRouteTemplate",
    message: `Cannot route "${trigger}": ${field} ${reason}, got ${JSON.stringify(path)}`,
  };
}

function badPath(path: string): string | undefined {
  if (!path.startsWith("/")) return "must start with /";
  if (path.split("/").includes("..")) return "must not contain ..";
  if (/[^\u0021-\u007e]/.test(path)) return "must be visible ASCII; write other characters percent-encoded";
  if (RESERVED_PATHS.some((reserved) => reserved === path)) return "must not be a path of the router itself";
  if (path.startsWith(RESERVED_PREFIX) || path === RESERVED_PREFIX.slice(0, -1))
    return `must not lie under ${RESERVED_PREFIX}`;
  return undefined;
}

export interface ClaimConflict {
  /** Trigger (`namespace/name`) that does not serve the path, and the one that does. */
  readonly loser: string;
  readonly winner: string;
  readonly path: string;
}

/** What two claims must have in common to be able to conflict: host and path, but for the names of variables. */
export function claimShape(claim: RouteClaim): string {
  return `${claim.host ?? "*"} ${claim.prefix ? "prefix" : "exact"} ${pathShape(claim.path)}`;
}

/** Which triggers lose a path to another one: same host, same path but for the names of variables, overlapping methods. */
export function claimConflicts(claims: readonly RouteClaim[]): ClaimConflict[] {
  const holders = new Map<string, RouteClaim[]>();
  const conflicts: ClaimConflict[] = [];
  for (const claim of claims.toSorted(byPrecedence)) {
    const shape = claimShape(claim);
    const held = holders.get(shape) ?? [];
    const winner = held.find((other) => other.trigger !== claim.trigger && methodsOverlap(other, claim));
    if (winner) conflicts.push({ loser: claim.trigger, winner: winner.trigger, path: claim.path });
    held.push(claim);
    holders.set(shape, held);
  }
  return conflicts;
}

/** Sorts winners first. */
function byPrecedence(a: RouteClaim, b: RouteClaim): number {
  if (a.order !== b.order) return a.order - b.order;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

/** The path with its variables' names left out: `/a/{id:[0-9]+}` → `/a/{:[0-9]+}`. Braces within a variable's regex are counted. */
function pathShape(path: string): string {
  let shape = "";
  let depth = 0;
  let inName = false;
  for (const char of path) {
    if (char === "{") {
      depth += 1;
      if (depth === 1) inName = true;
      shape += char;
    } else if (char === "}") {
      depth -= 1;
      inName = false;
      shape += char;
    } else if (inName && char === ":") {
      inName = false;
      shape += char;
    } else if (!inName) shape += char;
  }
  return shape.length > 1 && shape.endsWith("/") ? shape.slice(0, -1) : shape;
}

const methodsOverlap = (a: RouteClaim, b: RouteClaim): boolean =>
  a.methods.length === 0 || b.methods.length === 0 || a.methods.some((method) => b.methods.includes(method));
