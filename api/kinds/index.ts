import type { z } from "zod";
import { CanaryConfigSpec, CanaryConfigStatus } from "./canary.ts";
import { EnvironmentSpec, EnvironmentStatus } from "./environment.ts";
import { FunctionSpec, FunctionStatus } from "./function.ts";
import { HTTPTriggerSpec, HTTPTriggerStatus } from "./http-trigger.ts";
import { KubernetesWatchTriggerSpec, KubernetesWatchTriggerStatus } from "./kubernetes-watch-trigger.ts";
import { PackageSpec, PackageStatus } from "./package.ts";
import {
  FissionTenantSpec,
  FunctionAliasSpec,
  FunctionAliasStatus,
  FunctionVersionSpec,
  FunctionVersionStatus,
} from "./releases.ts";
import { TimeTriggerSpec, TimeTriggerStatus } from "./time-trigger.ts";
import { MessageQueueTriggerSpec, MessageQueueTriggerStatus, PlainStatus } from "./triggers.ts";
import { WorkflowRunSpec, WorkflowRunStatus, WorkflowSpec, WorkflowStatus } from "./workflow.ts";

export * from "./canary.ts";
export * from "./environment.ts";
export * from "./function.ts";
export * from "./http-trigger.ts";
export * from "./kubernetes-watch-trigger.ts";
export * from "./metadata.ts";
export * from "./package.ts";
export * from "./references.ts";
export * from "./releases.ts";
export type { Condition } from "./schema.ts";
export * from "./serving.ts";
export * from "./time-trigger.ts";
export * from "./triggers.ts";
export * from "./workflow.ts";

export interface PrinterColumn {
  name: string;
  type: "string" | "integer" | "date" | "boolean";
  jsonPath: string;
  /** 0 = always shown, 1 = with `-o wide`. */
  priority?: 0 | 1;
}

/** Everything that CRD, docs and CLI need to know of a kind. */
export interface KindDefinition {
  kind: string;
  plural: string;
  singular: string;
  shortNames: string[];
  scope: "Namespaced" | "Cluster";
  description: string;
  spec: z.ZodType;
  /** Absent: the kind has no status. */
  status?: z.ZodType;
  columns: PrinterColumn[];
  /** False: the kind is stored, its feature comes in a later release, and its Ready condition says so. */
  available: boolean;
}

const READY: PrinterColumn = {
  name: "Ready",
  type: "string",
  jsonPath: '.status.conditions[?(@.type=="Ready")].status',
};
const REASON: PrinterColumn = {
  name: "Reason",
  type: "string",
  jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
  priority: 1,
};
const AGE: PrinterColumn = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };
const column = (name: string, jsonPath: string, priority: 0 | 1 = 0): PrinterColumn => ({
  name,
  type: "string",
  jsonPath,
  priority,
});
const integer = (name: string, jsonPath: string, priority: 0 | 1 = 0): PrinterColumn => ({
  name,
  type: "integer",
  jsonPath,
  priority,
});

type Given = Omit<KindDefinition, "singular" | "shortNames" | "scope" | "available"> &
  Partial<KindDefinition>;
const define = (given: Given): KindDefinition => ({
  singular: given.kind.toLowerCase(),
  shortNames: [],
  scope: "Namespaced",
  available: true,
  ...given,
  columns: [...given.columns, ...(given.status ? [READY, REASON] : []), AGE],
});

/** All kinds of `fission.io/v1`. */
export const KINDS: KindDefinition[] = [
  define({
    kind: "Function",
    plural: "functions",
    shortNames: ["fn"],
    description: "Code that answers requests",
    spec: FunctionSpec,
    status: FunctionStatus,
    columns: [
      column("Environment", ".spec.environment.name"),
      column("Package", ".spec.package.packageref.name", 1),
      column("Executor", ".spec.InvokeStrategy.ExecutionStrategy.ExecutorType", 1),
      column("Revision", ".status.serving.revision"),
    ],
  }),
  define({
    kind: "Environment",
    plural: "environments",
    shortNames: [],
    description: "Runtime image, builder image and pool of generic pods",
    spec: EnvironmentSpec,
    status: EnvironmentStatus,
    columns: [
      column("Image", ".spec.runtime.image"),
      integer("Poolsize", ".spec.poolsize"),
      column("Builder", ".spec.builder.image", 1),
    ],
  }),
  define({
    kind: "Package",
    plural: "packages",
    shortNames: ["pkg"],
    description: "Source and built archive of functions",
    spec: PackageSpec,
    status: PackageStatus,
    columns: [column("Environment", ".spec.environment.name"), column("Build", ".status.buildstatus")],
  }),
  define({
    kind: "HTTPTrigger",
    plural: "httptriggers",
    shortNames: [],
    description: "Route from HTTP to a function",
    spec: HTTPTriggerSpec,
    status: HTTPTriggerStatus,
    columns: [
      column("Path", ".spec.relativeurl"),
      column("Prefix", ".spec.prefix", 1),
      column("Methods", ".spec.methods"),
      column("Function", ".spec.functionref.name"),
      column("Host", ".spec.host", 1),
    ],
  }),
  define({
    kind: "TimeTrigger",
    plural: "timetriggers",
    description: "Calls a function on a schedule",
    spec: TimeTriggerSpec,
    status: TimeTriggerStatus,
    columns: [
      column("Cron", ".spec.cron"),
      column("TimeZone", ".spec.timeZone", 1),
      column("Function", ".spec.functionref.name"),
      { name: "Suspend", type: "boolean", jsonPath: ".spec.suspend", priority: 1 },
      { name: "Last", type: "date", jsonPath: ".status.lastScheduleTime" },
      column("Next", ".status.nextFires[0]"),
    ],
  }),
  define({
    kind: "MessageQueueTrigger",
    plural: "messagequeuetriggers",
    description: "Calls a function for each message of a topic",
    spec: MessageQueueTriggerSpec,
    status: MessageQueueTriggerStatus,
    columns: [
      column("Type", ".spec.messageQueueType"),
      column("Topic", ".spec.topic"),
      column("Function", ".spec.functionref.name"),
      integer("Lag", ".status.lag"),
    ],
  }),
  define({
    kind: "KubernetesWatchTrigger",
    plural: "kuberneteswatchtriggers",
    description: "Calls a function when Kubernetes objects change",
    spec: KubernetesWatchTriggerSpec,
    status: KubernetesWatchTriggerStatus,
    columns: [
      column("Type", ".spec.type"),
      column("Kind", ".spec.kind"),
      column("Function", ".spec.functionref.name"),
      { name: "Last", type: "date", jsonPath: ".status.lastEventTime" },
    ],
  }),
  define({
    kind: "CanaryConfig",
    plural: "canaryconfigs",
    description: "Moves traffic from an old to a new function step by step",
    spec: CanaryConfigSpec,
    status: CanaryConfigStatus,
    columns: [
      column("Trigger", ".spec.trigger"),
      integer("Weight", ".status.weight"),
      column("Status", ".status.status"),
      column("Phase", ".status.phase"),
      column("Why", ".status.sentence", 1),
    ],
  }),
  define({
    kind: "FunctionVersion",
    plural: "functionversions",
    shortNames: ["fnver"],
    description: "Immutable snapshot of a function",
    spec: FunctionVersionSpec,
    status: FunctionVersionStatus,
    columns: [
      integer("Sequence", ".spec.sequence"),
      column("PackageDigest", ".spec.packageDigest"),
      { name: "PublishedAt", type: "date", jsonPath: ".spec.publishedAt" },
      column("Revision", ".status.serving.revision", 1),
    ],
  }),
  define({
    kind: "FunctionAlias",
    plural: "functionaliases",
    shortNames: ["fnalias"],
    description: "Name for one or two versions of a function",
    spec: FunctionAliasSpec,
    status: FunctionAliasStatus,
    columns: [
      column("Function", ".spec.functionName"),
      column("Version", ".spec.version"),
      integer("Weight", ".spec.weight"),
      column("ResolvedVersion", ".status.resolvedVersion"),
      column("Secondary", ".spec.secondaryVersion", 1),
    ],
  }),
  define({
    kind: "Workflow",
    plural: "workflows",
    shortNames: ["wf"],
    description: "Durable chain of functions",
    spec: WorkflowSpec,
    status: WorkflowStatus,
    columns: [
      column("StartAt", ".spec.startAt", 1),
      column("Package", ".spec.package.name", 1),
      column("Validated", '.status.conditions[?(@.type=="Validated")].status'),
    ],
  }),
  define({
    kind: "WorkflowRun",
    plural: "workflowruns",
    shortNames: ["wfr"],
    description: "One run of a workflow",
    spec: WorkflowRunSpec,
    status: WorkflowRunStatus,
    columns: [
      column("Workflow", ".spec.workflowRef"),
      column("Phase", ".status.phase"),
      { name: "Started", type: "date", jsonPath: ".status.startedAt" },
    ],
  }),
  define({
    kind: "FissionTenant",
    plural: "fissiontenants",
    shortNames: ["ftenant"],
    scope: "Cluster",
    description: "Namespace that the platform serves",
    spec: FissionTenantSpec,
    status: PlainStatus,
    available: false,
    columns: [column("Namespace", ".spec.namespace")],
  }),
];
