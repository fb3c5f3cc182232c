import { ANNOTATION_PREVIEW, ANNOTATION_WORKFLOW_WAIT } from "../../api/names.ts";
import { type RouteClaim, routeClaims, type RoutedTrigger } from "../../api/routes.ts";
import type { Cors } from "./cors.ts";
import { compileCors } from "./cors.ts";
import { type Chooser, type Destination, type DestinationDeps, destinationOf } from "./destination.ts";
import type { FunctionSlot } from "./function-table.ts";
import type { Exchange, Route, RouteTable } from "./http/types.ts";
import { stickyKeyOf } from "./sticky-key.ts";
import { waitOfAnnotation, type WorkflowTarget } from "./workflow-calls.ts";

/** What a matched route needs at a request. One object per claim of a trigger, always of this shape. */
export interface RouteTarget {
  /** `namespace/name` of the trigger. */
  readonly trigger: string;
  /** The one function or version that is called; null when `choose` has to be asked (alias, split, preview). */
  readonly slot: FunctionSlot | null;
  readonly choose: Chooser | null;
  /** Number of leading path segments that are cut off before the function sees the path; -1 = the function sees `/` or the whole path. */
  readonly cutSegments: number;
  /** True for a path that is one route: images of the reference system's contract expect `/` then. */
  readonly wholePath: boolean;
  readonly cors: Cors | null;
  /** The workflow that a call starts a run of, instead of a function. */
  readonly workflow: WorkflowTarget | null;
  /** Calls are kept and delivered later, whether they ask for it or not. */
  readonly async: boolean;
  /** `x-fission-params-<name>: ` for each variable, filled at the first match. */
  paramPrefixes: readonly string[] | null;
}

/** Path segments of `/a/b/` = 2. */
const segmentCount = (path: string): number => path.split("/").filter((segment) => segment !== "").length;

export interface RouteCompilerDeps {
  readonly table: RouteTable<RouteTarget>;
  readonly destinations: DestinationDeps;
  readonly clientAddress: (exchange: Exchange) => string;
  /** Told why a trigger (or one claim of it) is not routed. */
  readonly onProblem: (trigger: string, message: string) => void;
}

/** What a trigger has in the table. */
interface Routed {
  readonly routes: readonly Route<RouteTarget>[];
  readonly destination: Destination;
}

/** Keeps the route table in step with the HTTPTriggers, one trigger at a time: routes of the others are never touched. */
export class RouteCompiler {
  readonly #deps: RouteCompilerDeps;
  readonly #routed = new Map<string, Routed>();

  constructor(deps: RouteCompilerDeps) {
    this.#deps = deps;
  }

  /** Number of triggers with at least one route. */
  get size(): number {
    return this.#routed.size;
  }

  /** Takes over a trigger as it is now. The new routes are in place before those that it no longer has go. */
  apply(key: string, trigger: RoutedTrigger): void {
    const { table, onProblem } = this.#deps;
    const before = this.#routed.get(key);
    const kept = new Set<string>();
    const routes: Route<RouteTarget>[] = [];
    const { claims, problem } = routeClaims(trigger);
    if (problem) onProblem(key, problem.message);
    const destination = this.#destination(key, trigger);
    for (const claim of claims) {
      const route = this.#route(claim, trigger, destination);
      const refused = table.set(route);
      if (refused) {
        onProblem(key, refused.message);
        continue;
      }
      kept.add(route.id);
      routes.push(route);
    }
    if (routes.length > 0) this.#routed.set(key, { routes, destination });
    else {
      this.#routed.delete(key);
      destination.leave();
    }
    this.#drop(before, kept);
  }

  remove(key: string): void {
    const before = this.#routed.get(key);
    this.#routed.delete(key);
    this.#drop(before, new Set());
  }

  #drop(before: Routed | undefined, kept: ReadonlySet<string>): void {
    if (!before) return;
    for (const { id } of before.routes) if (!kept.has(id)) this.#deps.table.remove(id);
    before.destination.leave();
  }

  #destination(key: string, { metadata, spec }: RoutedTrigger): Destination {
    const onProblem = (message: string) => this.#deps.onProblem(key, message);
    return destinationOf(this.#deps.destinations, {
      namespace: metadata.namespace ?? "default",
      reference: spec.functionref,
      sticky: stickyKeyOf(metadata.annotations, this.#deps.clientAddress, onProblem),
      preview: metadata.annotations?.[ANNOTATION_PREVIEW] === "true",
      onProblem,
    });
  }

  #route(claim: RouteClaim, trigger: RoutedTrigger, destination: Destination): Route<RouteTarget> {
    return {
      id: claim.id,
      host: claim.host,
      methods: claim.methods,
      path: claim.path,
      prefix: claim.prefix,
      order: claim.order,
      payload: {
        trigger: claim.trigger,
        slot: destination.slot,
        choose: destination.choose,
        cutSegments: claim.prefix && trigger.spec.keepPrefix !== true ? segmentCount(claim.path) : -1,
        wholePath: !claim.prefix,
        cors: this.#cors(claim, trigger),
        workflow: this.#workflow(claim.trigger, trigger),
        async: trigger.spec.invocationMode === "async",
        paramPrefixes: null,
      },
    };
  }

  #workflow(key: string, { metadata, spec }: RoutedTrigger): WorkflowTarget | null {
    if (spec.functionref.type !== "workflow") return null;
    const { namespace = "default", annotations } = metadata;
    const target = { trigger: key, namespace, workflow: spec.functionref.name };
    try {
      return { ...target, waitMs: waitOfAnnotation(annotations?.[ANNOTATION_WORKFLOW_WAIT]) };
    } catch (error) {
      this.#deps.onProblem(key, error instanceof Error ? error.message : String(error));
      return { ...target, waitMs: 0 };
    }
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
