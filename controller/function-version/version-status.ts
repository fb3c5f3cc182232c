import type { Environment, FunctionVersion, FunctionVersionStatus } from "../../api/kinds/index.ts";
import { type ConditionUpdate, setConditions } from "../../kube/conditions.ts";
import type { Resolution } from "../function/resolve.ts";

/** A version whose function is gone serves nothing. */
export type VersionResolution = Resolution | { kind: "orphaned" };

export interface VersionSurroundings {
  readonly environment: Environment | undefined;
  /** Who still needs a version that is being deleted. */
  readonly keptBy: readonly string[];
  readonly now: Date;
}

/** The status that follows from a resolution. A version that cannot take up a change around it keeps the revision that serves. Pure. */
export function nextVersionStatus(
  version: FunctionVersion,
  resolution: VersionResolution,
  { environment, keptBy, now }: VersionSurroundings,
): FunctionVersionStatus {
  const { serving: last, ...before } = version.status ?? {};
  const generation = version.metadata.generation;
  const serving = servingAfter(last, resolution, now);
  const conditions = setConditions(
    before.conditions,
    [readyCondition(version, resolution, serving?.revision, keptBy), driftCondition(version, environment)],
    { generation, now },
  );
  return {
    ...before,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    conditions: [...conditions],
    ...(serving ? { serving } : {}),
  };
}

type ServingOf = FunctionVersionStatus["serving"];

function servingAfter(last: ServingOf, resolution: VersionResolution, now: Date): ServingOf {
  if (resolution.kind === "orphaned") return undefined;
  if (resolution.kind === "blocked") return last;
  const { serving } = resolution;
  return { ...serving, since: last?.revision === serving.revision ? last.since : now.toISOString() };
}

function readyCondition(
  { spec }: FunctionVersion,
  resolution: VersionResolution,
  revision: string | undefined,
  keptBy: readonly string[],
): ConditionUpdate {
  if (resolution.kind === "orphaned")
    return {
      type: "Ready",
      status: "False",
      reason: "FunctionNotFound",
      message: `Function "${spec.functionName}" with UID "${spec.functionUID}" does not exist any more`,
    };
  if (resolution.kind === "blocked") {
    const { reason, message } = resolution.problem;
    const still = revision === undefined ? "" : `; revision ${revision} still serves`;
    return { type: "Ready", status: "False", reason, message: message + still };
  }
  const kept = keptBy.length > 0 ? `; it is kept until nothing refers to it: ${keptBy.join(", ")}` : "";
  return {
    type: "Ready",
    status: "True",
    reason: "Serving",
    message: `Revision ${revision ?? ""} serves${kept}`,
  };
}

/** Whether the environment moved on since the version was published; the version keeps its image. */
function driftCondition({ spec }: FunctionVersion, environment: Environment | undefined): ConditionUpdate {
  const image = environment?.spec.runtime.image;
  const generation = environment?.metadata.generation;
  const name = environment?.metadata.name ?? "";
  if (image !== undefined && spec.envRuntimeImage !== undefined && image !== spec.envRuntimeImage)
    return {
      type: "EnvDrift",
      status: "True",
      reason: "ImageChanged",
      message: `Environment "${name}" has image "${image}" now; the version runs on "${spec.envRuntimeImage}"`,
    };
  if (
    generation !== undefined &&
    spec.envObservedGeneration !== undefined &&
    generation !== spec.envObservedGeneration
  )
    return {
      type: "EnvDrift",
      status: "True",
      reason: "EnvironmentChanged",
      message: `Environment "${name}" is at generation ${generation}; the version was published at generation ${spec.envObservedGeneration}`,
    };
  return {
    type: "EnvDrift",
    status: "False",
    reason: "InStep",
    message: "The environment is as it was when the version was published",
  };
}
