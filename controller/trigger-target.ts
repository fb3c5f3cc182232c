import type {
  FunctionAlias,
  Function as FunctionObject,
  FunctionReference,
  FunctionVersion,
  Workflow,
} from "../api/kinds/index.ts";
import { aliasTargets } from "../api/releases/alias.ts";
import { type ConditionUpdate, findCondition } from "../kube/conditions.ts";
import { functionNames, type World } from "./world.ts";

/** Objects of the trigger's own namespace, by name. */
export interface TargetSurroundings {
  readonly findFunction: (name: string) => FunctionObject | undefined;
  readonly findAlias: (name: string) => FunctionAlias | undefined;
  readonly findVersion: (name: string) => FunctionVersion | undefined;
  readonly findWorkflow: (name: string) => Workflow | undefined;
}

export type Problem = Pick<ConditionUpdate, "reason" | "message">;

/** The same from the local copies. */
export const surroundingsIn = (world: World, namespace: string): TargetSurroundings => ({
  findFunction: (name) => world.functions.get(`${namespace}/${name}`),
  findAlias: (name) => world.aliases.get(`${namespace}/${name}`),
  findVersion: (name) => world.versions.get(`${namespace}/${name}`),
  findWorkflow: (name) => world.workflows.get(`${namespace}/${name}`),
});

/** Why a trigger of this namespace cannot call what it names now; undefined = it can. */
export function targetProblem(
  namespace: string,
  target: FunctionReference,
  surroundings: TargetSurroundings,
): Problem | undefined {
  const { type, name, alias, version, functionweights } = target;
  if (type === "workflow") return workflowProblem(namespace, name, surroundings);
  const weights = Object.values(functionweights ?? {});
  if (type === "function-weights" && !weights.some((weight) => weight > 0))
    return {
      reason: "NoWeights",
      message: "spec.functionref.functionweights must give at least one function a weight greater than 0",
    };
  const problem = functionProblem(namespace, target, surroundings.findFunction, !alias && !version);
  if (problem) return problem;
  if (alias) return aliasProblem(namespace, name, alias, surroundings);
  return version ? versionProblem(namespace, name, version, surroundings) : undefined;
}

function functionProblem(
  namespace: string,
  target: FunctionReference,
  findFunction: TargetSurroundings["findFunction"],
  mustServe: boolean,
): Problem | undefined {
  for (const name of functionNames(target)) {
    // Nothing is sent there.
    if (target.functionweights?.[name] === 0) continue;
    const fn = findFunction(name);
    if (!fn) {
      return {
        reason: "FunctionNotFound",
        message: `Function "${name}" not found in namespace "${namespace}": create it, or correct spec.functionref`,
      };
    }
    if (mustServe && !fn.status?.serving) {
      const why = findCondition(fn.status?.conditions, "Ready")?.message ?? "it is being resolved";
      return { reason: "FunctionNotReady", message: `Function "${name}" cannot serve yet: ${why}` };
    }
  }
  return undefined;
}

function aliasProblem(
  namespace: string,
  fn: string,
  name: string,
  { findAlias, findVersion }: TargetSurroundings,
): Problem | undefined {
  const alias = findAlias(name);
  if (alias?.spec.functionName !== fn)
    return {
      reason: "AliasNotFound",
      message: `Alias "${name}" of function "${fn}" not found in namespace "${namespace}": create it with isotope alias create --name ${name} --function ${fn} --version ${fn}-v1`,
    };
  const ofFunction = (version: string) => findVersion(version)?.spec.functionName === fn;
  if (aliasTargets(alias, ofFunction).some(({ version }) => findVersion(version)?.status?.serving))
    return undefined;
  const why = findCondition(alias.status?.conditions, "Ready")?.message ?? "it is being resolved";
  return { reason: "AliasNotReady", message: `Alias "${name}" cannot serve yet: ${why}` };
}

function versionProblem(
  namespace: string,
  fn: string,
  name: string,
  { findVersion }: TargetSurroundings,
): Problem | undefined {
  const version = findVersion(name);
  if (version?.spec.functionName !== fn)
    return {
      reason: "VersionNotFound",
      message: `Version "${name}" of function "${fn}" not found in namespace "${namespace}": publish it with isotope fn publish --name ${fn}, or correct spec.functionref.version`,
    };
  if (version.status?.serving) return undefined;
  const why = findCondition(version.status?.conditions, "Ready")?.message ?? "it is being resolved";
  return { reason: "VersionNotReady", message: `Version "${name}" cannot serve yet: ${why}` };
}

/** One whose newest definition is faulty still starts runs of the one before it. */
function workflowProblem(
  namespace: string,
  name: string,
  { findWorkflow }: TargetSurroundings,
): Problem | undefined {
  const workflow = findWorkflow(name);
  if (!workflow)
    return {
      reason: "WorkflowNotFound",
      message: `Workflow "${name}" not found in namespace "${namespace}": create it, or correct spec.functionref; until then calls are answered 404 workflow_not_found`,
    };
  if (workflow.status?.definition) return undefined;
  const why = findCondition(workflow.status?.conditions, "Ready")?.message ?? "it is being checked";
  return {
    reason: "WorkflowNotReady",
    message: `Workflow "${name}" cannot start runs yet: ${why}; until then calls are answered 503 workflow_not_ready`,
  };
}

/** What a trigger calls, for people. */
export function describeTarget({ type, name, alias, version, functionweights }: FunctionReference): string {
  if (type === "workflow") return `runs of workflow "${name}"`;
  if (type === "function-weights") {
    const shares = Object.entries(functionweights ?? {});
    const all = shares.reduce((sum, [, weight]) => sum + weight, 0) || 1;
    const parts = shares.map(([one, weight]) => `"${one}" (${Math.round((weight / all) * 100)} %)`);
    return `functions ${parts.join(", ")}`;
  }
  if (alias) return `alias "${alias}" of function "${name}"`;
  return version ? `version "${version}" of function "${name}"` : `function "${name}"`;
}
