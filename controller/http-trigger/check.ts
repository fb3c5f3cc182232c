import { parseDurationMs } from "../../api/duration.ts";
import type {
  FunctionAlias,
  Function as FunctionObject,
  FunctionVersion,
  HTTPTrigger,
  Workflow,
} from "../../api/kinds/index.ts";
import { ANNOTATION_STICKY } from "../../api/names.ts";
import { aliasTargets } from "../../api/releases/alias.ts";
import { claimConflicts, routeClaims } from "../../api/routes.ts";
import { parseSticky, STICKY_ALLOWED } from "../../api/sticky.ts";
import { type ConditionUpdate, findCondition } from "../../kube/conditions.ts";
import { functionNames, workflowName } from "../world.ts";

/** What a trigger's state depends on beside itself. */
export interface TriggerSurroundings {
  /** A function of the trigger's own namespace. */
  readonly findFunction: (name: string) => FunctionObject | undefined;
  readonly findAlias: (name: string) => FunctionAlias | undefined;
  readonly findVersion: (name: string) => FunctionVersion | undefined;
  readonly findWorkflow: (name: string) => Workflow | undefined;
  /** Triggers that claim one of the same paths, the trigger itself among them or not. */
  readonly rivals: readonly HTTPTrigger[];
  /** Whether Ingress and Gateway objects are made here. */
  readonly exposes?: boolean;
}

/** The conditions RouteAdmitted and Ready of a trigger. Pure. */
export function triggerConditions(
  trigger: HTTPTrigger,
  surroundings: TriggerSurroundings,
): ConditionUpdate[] {
  const refused = admissionProblem(trigger, surroundings.rivals);
  const admitted: ConditionUpdate = refused
    ? { type: "RouteAdmitted", status: "False", ...refused }
    : { type: "RouteAdmitted", status: "True", reason: "Admitted", message: describeRoute(trigger) };
  const problem = refused ?? featureProblem(trigger) ?? referenceProblem(trigger, surroundings);
  const ready: ConditionUpdate = problem
    ? { type: "Ready", status: "False", ...problem }
    : {
        type: "Ready",
        status: "True",
        reason: "Routed",
        message: describeRoute(trigger) + (surroundings.exposes ? "" : ingressNote(trigger)),
      };
  return [admitted, ready];
}

interface Problem {
  reason: string;
  message: string;
}

function admissionProblem(trigger: HTTPTrigger, rivals: readonly HTTPTrigger[]): Problem | undefined {
  const { claims, problem } = routeClaims(trigger);
  if (problem) return { reason: problem.reason, message: problem.message };
  for (const { path } of claims) {
    const why = templateProblem(path);
    if (why) return { reason: "InvalidRouteTemplate", message: `Path "${path}" cannot be routed: ${why}` };
  }
  return corsProblem(trigger) ?? conflictProblem(trigger, rivals);
}

const VARIABLE = /^[A-Za-z_][A-Za-z0-9_-]{0,62}$/;
/** What a linear-time engine cannot match. */
const NOT_LINEAR = /\\[1-9]|\(\?(?:[=!]|<[=!])/;

/** Why a path template cannot be compiled: braces, names and patterns of its variables. */
export function templateProblem(path: string): string | undefined {
  const names = new Set<string>();
  for (let at = 0; at < path.length; at++) {
    if (path[at] === "}") return '"}" without "{"';
    if (path[at] !== "{") continue;
    const end = closingBrace(path, at);
    if (end < 0) return '"{" without "}"';
    const [name, pattern] = splitOnce(path.slice(at + 1, end));
    if (!VARIABLE.test(name)) return `"${name}" is no name of a variable`;
    if (names.has(name)) return `variable "${name}" occurs twice`;
    names.add(name);
    const why = pattern === undefined ? undefined : patternProblem(pattern);
    if (why) return `the pattern of variable "${name}" ${why}`;
    at = end;
  }
  return undefined;
}

function closingBrace(path: string, open: number): number {
  let depth = 0;
  for (let at = open; at < path.length; at++) {
    if (path[at] === "{") depth++;
    if (path[at] === "}" && --depth === 0) return at;
  }
  return -1;
}

function splitOnce(text: string): [string, string | undefined] {
  const colon = text.indexOf(":");
  return colon < 0 ? [text, undefined] : [text.slice(0, colon), text.slice(colon + 1)];
}

function patternProblem(pattern: string): string | undefined {
  if (pattern === "") return "is empty";
  if (NOT_LINEAR.test(pattern))
    return "uses a backreference or look-around, which the router does not support";
  try {
    RegExp(pattern);
    return undefined;
  } catch (error) {
    return `is no regular expression: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function corsProblem(trigger: HTTPTrigger): Problem | undefined {
  const cors = trigger.spec.corsConfig;
  if (!cors) return undefined;
  const invalid = (message: string): Problem => ({ reason: "InvalidCorsConfig", message });
  if (cors.allowCredentials && cors.allowOrigins?.includes("*")) {
    return invalid('corsConfig.allowCredentials does not go with the origin "*": name the origins');
  }
  const odd = cors.allowOrigins?.find((origin) => origin !== "*" && (origin.match(/\*/g)?.length ?? 0) > 1);
  if (odd) return invalid(`corsConfig.allowOrigins holds "${odd}": an origin may hold one "*"`);
  if (cors.maxAge && !isDuration(cors.maxAge)) {
    return invalid(
      `corsConfig.maxAge must be a duration such as 10m or a number of seconds, got "${cors.maxAge}"`,
    );
  }
  return undefined;
}

function isDuration(text: string): boolean {
  if (/^\d+$/.test(text)) return true;
  try {
    return parseDurationMs(text) >= 0;
  } catch {
    return false;
  }
}

function conflictProblem(trigger: HTTPTrigger, rivals: readonly HTTPTrigger[]): Problem | undefined {
  const own = keyOfTrigger(trigger);
  const others = rivals.filter((rival) => keyOfTrigger(rival) !== own);
  if (others.length === 0) return undefined;
  const claims = [trigger, ...others].flatMap((rival) => routeClaims(rival).claims);
  const lost = claimConflicts(claims).find(({ loser }) => loser === own);
  if (!lost) return undefined;
  return {
    reason: "RouteConflict",
    message: `HTTPTrigger "${lost.winner}" is older and holds path "${lost.path}": choose another path, host or method, or delete that trigger`,
  };
}

function keyOfTrigger({ metadata }: HTTPTrigger): string {
  return `${metadata.namespace ?? "default"}/${metadata.name}`;
}

function featureProblem({ spec }: HTTPTrigger): Problem | undefined {
  return spec.invocationMode === "async"
    ? {
        reason: "FeatureNotAvailable",
        message: "The route answers 501: invocationMode async comes with a later release",
      }
    : undefined;
}

function referenceProblem(trigger: HTTPTrigger, surroundings: TriggerSurroundings): Problem | undefined {
  const { type, alias, version, functionweights } = trigger.spec.functionref;
  const sticky = trigger.metadata.annotations?.[ANNOTATION_STICKY];
  if (sticky !== undefined && parseSticky(sticky) === undefined)
    return {
      reason: "InvalidSticky",
      message: `Annotation ${ANNOTATION_STICKY} must be one of ${STICKY_ALLOWED}, got "${sticky}"; until then nothing is sticky`,
    };
  const weights = Object.values(functionweights ?? {});
  if (type === "function-weights" && !weights.some((weight) => weight > 0))
    return {
      reason: "NoWeights",
      message: "spec.functionref.functionweights must give at least one function a weight greater than 0",
    };
  const workflow = workflowName(trigger);
  if (workflow !== undefined) return workflowProblem(trigger, workflow, surroundings.findWorkflow(workflow));
  const problem = functionProblem(trigger, surroundings.findFunction, !alias && !version);
  if (problem) return problem;
  if (alias) return aliasProblem(trigger, alias, surroundings);
  return version ? versionProblem(trigger, version, surroundings) : undefined;
}

function functionProblem(
  trigger: HTTPTrigger,
  findFunction: (name: string) => FunctionObject | undefined,
  mustServe: boolean,
): Problem | undefined {
  const weights = trigger.spec.functionref.functionweights;
  for (const name of functionNames(trigger)) {
    // Nothing is sent there.
    if (weights?.[name] === 0) continue;
    const fn = findFunction(name);
    if (!fn) {
      return {
        reason: "FunctionNotFound",
        message: `Function "${name}" not found in namespace "${namespaceOf(trigger)}": create it, or correct spec.functionref`,
      };
    }
    if (mustServe && !fn.status?.serving) {
      const why = findCondition(fn.status?.conditions, "Ready")?.message ?? "it is being resolved";
      return { reason: "FunctionNotReady", message: `Function "${name}" cannot serve yet: ${why}` };
    }
  }
  return undefined;
}

/** One whose newest definition is faulty still starts runs of the one before it. */
function workflowProblem(
  trigger: HTTPTrigger,
  name: string,
  workflow: Workflow | undefined,
): Problem | undefined {
  if (!workflow)
    return {
      reason: "WorkflowNotFound",
      message: `Workflow "${name}" not found in namespace "${namespaceOf(trigger)}": create it, or correct spec.functionref; until then calls are answered 404 workflow_not_found`,
    };
  if (workflow.status?.definition) return undefined;
  const why = findCondition(workflow.status?.conditions, "Ready")?.message ?? "it is being checked";
  return {
    reason: "WorkflowNotReady",
    message: `Workflow "${name}" cannot start runs yet: ${why}; until then calls are answered 503 workflow_not_ready`,
  };
}

function aliasProblem(
  trigger: HTTPTrigger,
  name: string,
  { findAlias, findVersion }: TriggerSurroundings,
): Problem | undefined {
  const alias = findAlias(name);
  const fn = trigger.spec.functionref.name;
  if (alias?.spec.functionName !== fn)
    return {
      reason: "AliasNotFound",
      message: `Alias "${name}" of function "${fn}" not found in namespace "${namespaceOf(trigger)}": create it with isotope alias create --name ${name} --function ${fn} --version ${fn}-v1`,
    };
  const ofFunction = (version: string) => findVersion(version)?.spec.functionName === fn;
  if (aliasTargets(alias, ofFunction).some(({ version }) => findVersion(version)?.status?.serving))
    return undefined;
  const why = findCondition(alias.status?.conditions, "Ready")?.message ?? "it is being resolved";
  return { reason: "AliasNotReady", message: `Alias "${name}" cannot serve yet: ${why}` };
}

function versionProblem(
  trigger: HTTPTrigger,
  name: string,
  { findVersion }: TriggerSurroundings,
): Problem | undefined {
  const version = findVersion(name);
  const fn = trigger.spec.functionref.name;
  if (version?.spec.functionName !== fn)
    return {
      reason: "VersionNotFound",
      message: `Version "${name}" of function "${fn}" not found in namespace "${namespaceOf(trigger)}": publish it with isotope fn publish --name ${fn}, or correct spec.functionref.version`,
    };
  if (version.status?.serving) return undefined;
  const why = findCondition(version.status?.conditions, "Ready")?.message ?? "it is being resolved";
  return { reason: "VersionNotReady", message: `Version "${name}" cannot serve yet: ${why}` };
}

function namespaceOf({ metadata }: HTTPTrigger): string {
  return metadata.namespace ?? "default";
}

function describeTarget({ functionref }: HTTPTrigger["spec"]): string {
  const { type, name, alias, version, functionweights } = functionref;
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

function describeRoute({ spec }: HTTPTrigger): string {
  const methods = [...(spec.methods ?? []), ...(spec.method ? [spec.method] : [])];
  const paths = [spec.relativeurl, spec.prefix ? `${spec.prefix}*` : ""].filter((path) => path);
  return `${methods.length > 0 ? methods.join(", ") : "All methods"} on ${paths.join(" and ")} go to ${describeTarget(spec)}`;
}

function ingressNote({ spec }: HTTPTrigger): string {
  return spec.createingress || spec.routeConfig?.provider
    ? "; Ingress and Gateway objects are made on a cluster only"
    : "";
}
