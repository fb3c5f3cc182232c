import { randomBytes } from "node:crypto";
import type { RevisionCounters } from "../../api/wire/counters.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { KeyRing } from "../../net/keys.ts";
import type { Log } from "../../net/log.ts";
import type { MetricsRegistry } from "../../net/metrics.ts";
import { signedClient } from "../../net/signed-client.ts";
import { AliasTable } from "./alias-table.ts";
import { clientAddressReader } from "./forwarded.ts";
import { revisionCounters } from "./revision-tally.ts";
import { EndpointIndex } from "./endpoint-index.ts";
import { type ExecutorClient, executorClient } from "./executor-client.ts";
import { type FunctionSlot, FunctionTable } from "./function-table.ts";
import { compileHeaderFilter } from "./http/header-filter.ts";
import { createRouteTable } from "./http/routes.ts";
import type { RouteTable, Upstreams } from "./http/types.ts";
import { createUpstreams } from "./http/upstream.ts";
import { createLoadReporter } from "./load-report.ts";
import {
  CORS_RESPONSE_RULE,
  INTERNAL_REQUEST_RULE,
  PUBLIC_REQUEST_RULE,
  RESPONSE_RULE,
} from "./request-lines.ts";
import type { Revision } from "./revision.ts";
import { RouteCompiler, type RouteTarget } from "./route-compiler.ts";
import { type RevisionStats, type RouterMetrics, routerMetrics } from "./router-metrics.ts";
import { equipEndpoint, type PlanSettings, servingPlan } from "./serving-plan.ts";
import type { RouterSettings } from "./settings.ts";
import { startWatches, type Watches } from "./watches.ts";

/** The identity of the executor in signed calls. */
const EXECUTOR_AUDIENCE = "executor";

const MEASURE_MS = 1_000;
const SWEEP_MS = 10_000;

export interface RoutingStateDeps {
  readonly settings: RouterSettings;
  readonly kube: KubeClient;
  readonly keys: KeyRing;
  readonly log: Log;
  readonly registry: MetricsRegistry;
  /** See `FunctionTableDeps.settled`. */
  readonly settled: (slot: FunctionSlot) => void;
}

/** What the router knows: functions, routes, pods, and how to have more pods; kept up to date by watches. */
export interface RoutingState {
  readonly table: RouteTable<RouteTarget>;
  readonly functions: FunctionTable;
  readonly aliases: AliasTable;
  /** What was counted for the functions with the given UIDs; undefined = for all. */
  readonly counters: (uids: readonly string[] | undefined) => RevisionCounters;
  readonly index: EndpointIndex;
  readonly executor: ExecutorClient;
  readonly upstreams: Upstreams;
  readonly metrics: RouterMetrics;
  readonly watches: Watches;
  stop(): Promise<void>;
}

export function createRoutingState(deps: RoutingStateDeps): RoutingState {
  const { settings, log, registry } = deps;
  const now = () => performance.now();
  const metrics = routerMetrics(registry);
  const upstreams = createUpstreams({});
  const client = signedClient({
    keys: deps.keys,
    origin: settings.executorUrl,
    audience: EXECUTOR_AUDIENCE,
    unavailable: "executor_unavailable",
  });
  const executor = executorClient({ client, index: () => index, metrics, log, now });
  const index = new EndpointIndex({
    limits: settings,
    now,
    acquire: (revision, waiting, waitMs) => executor.acquire(revision, waiting, waitMs),
    upstreams,
    equip: (endpoint, revision) => {
      if (revision.plan) equipEndpoint(endpoint, revision.plan);
    },
    podsChanged: (revision) => functions.podsChanged(revision),
    forgotten: (revision) => {
      if (revision.plan) metrics.forgetRevision(labelsOf(revision));
    },
  });
  const clientAddress = clientAddressReader(settings.trustedProxies);
  const functions: FunctionTable = new FunctionTable({
    index,
    bind: planBinder(settings, (labels) => metrics.revision(labels)),
    settled: deps.settled,
    onMalformed: (key, message) =>
      log.error("Cannot read a function's status.serving", { function: key, message }),
    onVersions: (namespace, functionName) => aliases.versionsChanged(namespace, functionName),
  });
  const aliases = new AliasTable({
    functions,
    clientAddress,
    onProblem: (alias, message) => log.warn("Cannot split as the alias says", { alias, reason: message }),
  });
  const table = createRouteTable<RouteTarget>();
  const routes = new RouteCompiler({
    table,
    destinations: { functions, aliases },
    clientAddress,
    onProblem: (trigger, message) =>
      log.warn("Cannot route as the trigger says", { trigger, reason: message }),
  });
  const watches = startWatches(
    deps.kube,
    {
      onFunction: (key, object) => (object ? functions.apply(object) : functions.remove(key)),
      onVersion: (key, object) => (object ? functions.applyVersion(object) : functions.removeVersion(key)),
      onAlias: (key, object) => (object ? aliases.apply(object) : aliases.remove(key)),
      onTrigger: (key, trigger) => (trigger ? routes.apply(key, trigger) : routes.remove(key)),
      onSlice: (key, slice) => index.applySlice(key, slice),
    },
    log,
    registry,
  );
  showSizes(registry, { index, table, functions, aliases });
  const router = randomBytes(8).toString("hex");
  const load = createLoadReporter({ router, client, revisions: () => index.revisions(), log, now });
  const timers = [
    setInterval(() => measure(index), MEASURE_MS).unref(),
    setInterval(() => void load.report(), MEASURE_MS).unref(),
    setInterval(() => index.sweep(), SWEEP_MS).unref(),
  ];
  return {
    table,
    functions,
    aliases,
    counters: revisionCounters(router, index),
    index,
    executor,
    upstreams,
    metrics,
    watches,
    stop: async () => {
      for (const timer of timers) clearInterval(timer);
      await watches.stop();
      index.close();
      upstreams.close();
      await client.close();
    },
  };
}

function showSizes(
  registry: MetricsRegistry,
  state: Pick<RoutingState, "index" | "table" | "functions" | "aliases">,
): void {
  registry.onScrape(() => showWaiting(state.index));
  registry.gaugeOf({ name: "isotope_router_routes", help: "Routes of HTTPTriggers" }, () => state.table.size);
  registry.gaugeOf({ name: "isotope_router_functions", help: "Functions known" }, () => state.functions.size);
  registry.gaugeOf(
    { name: "isotope_router_versions", help: "Versions known" },
    () => state.functions.versions,
  );
  registry.gaugeOf({ name: "isotope_router_aliases", help: "Aliases known" }, () => state.aliases.size);
  registry.gaugeOf({ name: "isotope_router_pods", help: "Pods known" }, () => state.index.podCount);
}

function showWaiting(index: EndpointIndex): void {
  for (const { plan, queue, inFlight } of index.revisions()) {
    if (!plan) continue;
    plan.stats.waiting.value = queue.length;
    plan.stats.inFlight.value = inFlight;
  }
}

function measure(index: EndpointIndex): void {
  for (const revision of index.revisions()) revision.measure(MEASURE_MS);
}

const labelsOf = (revision: Revision) => ({
  namespace: revision.plan?.slot.namespace ?? "",
  function: revision.plan?.slot.name ?? "",
  revision: revision.revision,
});

function planBinder(
  settings: RouterSettings,
  statsOf: (labels: ReturnType<typeof labelsOf>) => RevisionStats,
): ConstructorParameters<typeof FunctionTable>[0]["bind"] {
  const planSettings: PlanSettings = {
    connectTimeoutMs: settings.connectTimeoutMs,
    tunnelIdleMs: settings.tunnelIdleMs,
    requestFilter: compileHeaderFilter(PUBLIC_REQUEST_RULE),
    internalRequestFilter: compileHeaderFilter(INTERNAL_REQUEST_RULE),
    responseFilter: compileHeaderFilter(RESPONSE_RULE),
    corsResponseFilter: compileHeaderFilter(CORS_RESPONSE_RULE),
  };
  return (revision, slot, serving) => {
    // A version says nothing of its revision that the function, or another version, has not said.
    if (slot.version !== "" && revision.plan) return;
    const stats = statsOf({ namespace: slot.namespace, function: slot.name, revision: serving.revision });
    const plan = servingPlan(slot, serving, stats, planSettings);
    revision.plan = plan;
    revision.onceOnly = serving.limits.onceOnly;
    for (const endpoint of revision.endpoints) equipEndpoint(endpoint, plan);
  };
}
