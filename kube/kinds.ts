import {
  type CanaryConfig,
  type Condition,
  type Environment,
  type FunctionAlias,
  type Function as FunctionObject,
  type FunctionVersion,
  type HTTPTrigger,
  type KindDefinition,
  type KubernetesWatchTrigger,
  type MessageQueueTrigger,
  type Package,
  type TimeTrigger,
  type Workflow,
  type WorkflowRun,
} from "../api/kinds/index.ts";
import { API_GROUP_VERSION } from "../api/names.ts";
import type { KubeObject } from "./object.ts";
import { type ResourceType, resourceType } from "./resource.ts";

export const FUNCTIONS = resourceType<FunctionObject>(API_GROUP_VERSION, "Function", "functions");
export const ENVIRONMENTS = resourceType<Environment>(API_GROUP_VERSION, "Environment", "environments");
export const PACKAGES = resourceType<Package>(API_GROUP_VERSION, "Package", "packages");
export const HTTP_TRIGGERS = resourceType<HTTPTrigger>(API_GROUP_VERSION, "HTTPTrigger", "httptriggers");
export const MESSAGE_QUEUE_TRIGGERS = resourceType<MessageQueueTrigger>(
  API_GROUP_VERSION,
  "MessageQueueTrigger",
  "messagequeuetriggers",
);
export const TIME_TRIGGERS = resourceType<TimeTrigger>(API_GROUP_VERSION, "TimeTrigger", "timetriggers");
export const KUBERNETES_WATCH_TRIGGERS = resourceType<KubernetesWatchTrigger>(
  API_GROUP_VERSION,
  "KubernetesWatchTrigger",
  "kuberneteswatchtriggers",
);
export const CANARY_CONFIGS = resourceType<CanaryConfig>(API_GROUP_VERSION, "CanaryConfig", "canaryconfigs");
export const FUNCTION_VERSIONS = resourceType<FunctionVersion>(
  API_GROUP_VERSION,
  "FunctionVersion",
  "functionversions",
);
export const FUNCTION_ALIASES = resourceType<FunctionAlias>(
  API_GROUP_VERSION,
  "FunctionAlias",
  "functionaliases",
);
export const WORKFLOWS = resourceType<Workflow>(API_GROUP_VERSION, "Workflow", "workflows");
export const WORKFLOW_RUNS = resourceType<WorkflowRun>(API_GROUP_VERSION, "WorkflowRun", "workflowruns");

/** Any of the platform's kinds, for code that treats them alike. */
export interface PlatformObject extends KubeObject {
  spec?: unknown;
  status?: { conditions?: Condition[] | undefined } | undefined;
}

/** The resource type of a kind of `KINDS`. */
export function platformType(kind: KindDefinition): ResourceType<PlatformObject> {
  return resourceType(API_GROUP_VERSION, kind.kind, kind.plural, { namespaced: kind.scope === "Namespaced" });
}
