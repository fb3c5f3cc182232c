import { parseDurationMs } from "../../api/duration.ts";
import type { HTTPTrigger } from "../../api/kinds/index.ts";
import { ANNOTATION_STICKY } from "../../api/names.ts";
import { claimConflicts, routeClaims } from "../../api/routes.ts";
import { parseSticky, STICKY_ALLOWED } from "../../api/sticky.ts";
import type { ConditionUpdate } from "../../kube/conditions.ts";
import { describeTarget, type Problem, type TargetSurroundings, targetProblem } from "../trigger-target.ts";

/** What a trigger's state depends on beside itself. */
export interface TriggerSurroundings extends TargetSurroundings {
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
  const problem = refused ?? referenceProblem(trigger, surroundings);
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

function referenceProblem(trigger: HTTPTrigger, surroundings: TriggerSurroundings): Problem | undefined {
  const sticky = trigger.metadata.annotations?.[ANNOTATION_STICKY];
  if (sticky !== undefined && parseSticky(sticky) === undefined)
    return {
      reason: "InvalidSticky",
      message: `Annotation ${ANNOTATION_STICKY} must be one of ${STICKY_ALLOWED}, got "${sticky}"; until then nothing is sticky`,
    };
  return targetProblem(namespaceOf(trigger), trigger.spec.functionref, surroundings);
}

function namespaceOf({ metadata }: HTTPTrigger): string {
  return metadata.namespace ?? "default";
}

function describeRoute({ spec }: HTTPTrigger): string {
  const methods = [...(spec.methods ?? []), ...(spec.method ? [spec.method] : [])];
  const paths = [spec.relativeurl, spec.prefix ? `${spec.prefix}*` : ""].filter((path) => path);
  return `${methods.length > 0 ? methods.join(", ") : "All methods"} on ${paths.join(" and ")} go to ${describeTarget(spec.functionref)}`;
}

function ingressNote({ spec }: HTTPTrigger): string {
  return spec.createingress || spec.routeConfig?.provider
    ? "; Ingress and Gateway objects are made on a cluster only"
    : "";
}
