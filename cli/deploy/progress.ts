import type {
  Condition,
  Function as FunctionObject,
  HTTPTrigger,
  Package,
  Workflow,
} from "../../api/kinds/index.ts";
import type { FunctionObjects } from "./desired-objects.ts";
import type { WorkflowObjects } from "./workflow-objects.ts";

/** How far one function's deployment has come. */
export type Progress =
  | { state: "waiting"; what: string }
  | { state: "ready"; revision: string }
  | { state: "failed"; why: string };

export interface LiveFunction {
  package: Package | undefined;
  function: FunctionObject | undefined;
  triggers: (HTTPTrigger | undefined)[];
}

const condition = (conditions: readonly Condition[] | undefined, type: string): Condition | undefined =>
  conditions?.find((candidate) => candidate.type === type);

/** A condition that speaks of the object as it is now, not of an earlier generation. */
const current = (found: Condition | undefined, generation: number | undefined): boolean =>
  found !== undefined && (found.observedGeneration ?? 0) >= (generation ?? 0);

export interface LiveWorkflow {
  package: Package | undefined;
  workflow: Workflow | undefined;
  triggers: (HTTPTrigger | undefined)[];
}

function buildProgress(wanted: { package: Package }, live: Package | undefined): Progress | undefined {
  const digest = wanted.package.spec.source?.checksum?.sum;
  if (!live || live.spec.source?.checksum?.sum !== digest) return { state: "waiting", what: "package" };
  const { buildstatus, sourceDigest } = live.status ?? {};
  const built = condition(live.status?.conditions, "BuildSucceeded");
  if (buildstatus === "failed" && built?.status === "False" && current(built, live.metadata.generation))
    return { state: "failed", why: built.message };
  if (buildstatus !== "succeeded" || sourceDigest !== digest) return { state: "waiting", what: "build" };
  return undefined;
}

/** Reads from the live objects whether the wanted ones serve. Pure. */
export function deploymentProgress(wanted: FunctionObjects, live: LiveFunction): Progress {
  const build = buildProgress(wanted, live.package);
  if (build) return build;
  const serving = live.function?.status?.serving;
  const generation = live.function?.metadata.generation ?? 0;
  const ready = condition(live.function?.status?.conditions, "Ready");
  if (
    !serving ||
    serving.generation < generation ||
    serving.package.digest !== live.package?.spec.deployment?.checksum?.sum
  ) {
    if (
      ready?.status === "False" &&
      current(ready, generation) &&
      ready.reason !== "PackageNotReady" &&
      ready.reason !== "PackageBuilding"
    )
      return { state: "failed", why: ready.message };
    return { state: "waiting", what: "function" };
  }
  return routesProgress(live.triggers) ?? { state: "ready", revision: serving.revision };
}

function routesProgress(triggers: readonly (HTTPTrigger | undefined)[]): Progress | undefined {
  for (const trigger of triggers) {
    const admitted = condition(trigger?.status?.conditions, "RouteAdmitted");
    if (!trigger || !current(admitted, trigger.metadata.generation))
      return { state: "waiting", what: "route" };
    if (admitted?.status === "False") return { state: "failed", why: admitted.message };
  }
  return undefined;
}

/** Conditions of a Workflow that say that its package is on its way, or that the service that checks it is. */
const ON_ITS_WAY = new Set(["PackageNotFound", "PackageBuilding", "ServiceUnavailable"]);

/** Reads from the live objects whether runs of the wanted workflow can be started. Its revision is the definition's. Pure. */
export function workflowProgress(wanted: WorkflowObjects, live: LiveWorkflow): Progress {
  const build = buildProgress(wanted, live.package);
  if (build) return build;
  const { metadata, status } = live.workflow ?? {};
  const ready = condition(status?.conditions, "Ready");
  if (!ready || !current(ready, metadata?.generation)) return { state: "waiting", what: "definition" };
  const archive = live.package?.spec.deployment?.checksum?.sum;
  const isNewest = status?.definition?.packageDigest === archive;
  if (ready.status === "False" && !ON_ITS_WAY.has(ready.reason) && (isNewest || ready.reason === "Invalid"))
    return { state: "failed", why: ready.message };
  if (ready.status !== "True" || !isNewest) return { state: "waiting", what: "definition" };
  return (
    routesProgress(live.triggers) ?? {
      state: "ready",
      revision: status?.definition?.digest.slice(0, 12) ?? "",
    }
  );
}
