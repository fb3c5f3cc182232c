import { NO_WORKFLOW_SERVICE } from "../../../api/workflow-errors.ts";
import type { FunctionWorld } from "../../../kube/function-world.ts";
import type { Target } from "./event.ts";

/** What keeps a trigger from working: for its conditions. */
export interface TargetFault {
  readonly reason: string;
  readonly message: string;
}

/** What triggers may call. */
export interface TargetWorld {
  readonly functions: Pick<FunctionWorld, "function" | "alias" | "version">;
  /** There is no workflow service. */
  readonly withoutWorkflows?: boolean;
}

/** What is missing of what a trigger calls; undefined = nothing. Workflows are not known here: the workflow service says it when a run is started. */
export function targetFault(
  target: Target,
  namespace: string,
  { functions, withoutWorkflows = false }: TargetWorld,
): TargetFault | undefined {
  if (target.type === "workflow")
    return withoutWorkflows
      ? {
          reason: "WorkflowsNotInstalled",
          message: `Cannot start runs of workflow "${target.name}": workflows are not installed. ${NO_WORKFLOW_SERVICE}`,
        }
      : undefined;
  const weighted = target.type === "function-weights" ? Object.keys(target.functionweights ?? {}) : [];
  const names = weighted.length > 0 ? weighted : [target.name];
  const missing = names.find((name) => !functions.function(namespace, name));
  if (missing !== undefined)
    return {
      reason: "FunctionNotFound",
      message: `Function "${missing}" not found in namespace "${namespace}"`,
    };
  if (target.alias && !functions.alias(namespace, target.alias))
    return {
      reason: "AliasNotFound",
      message: `FunctionAlias "${target.alias}" not found in namespace "${namespace}"`,
    };
  if (target.version && !functions.version(namespace, target.version))
    return {
      reason: "VersionNotFound",
      message: `FunctionVersion "${target.version}" not found in namespace "${namespace}"`,
    };
  return undefined;
}
