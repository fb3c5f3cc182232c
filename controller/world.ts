import type {
  CanaryConfig,
  Environment,
  FunctionAlias,
  Function as FunctionObject,
  FunctionReference,
  FunctionSpec,
  FunctionVersion,
  HTTPTrigger,
  Package,
  TimeTrigger,
  Workflow,
  WorkflowRun,
} from "../api/kinds/index.ts";
import { claimShape, routeClaims } from "../api/routes.ts";
import type { KubeClient } from "../kube/client.ts";
import { CONFIG_MAPS, SECRETS } from "../kube/core.ts";
import { createInformer, type Informer, type InformerOptions } from "../kube/informer.ts";
import {
  CANARY_CONFIGS,
  ENVIRONMENTS,
  FUNCTION_ALIASES,
  FUNCTION_VERSIONS,
  FUNCTIONS,
  HTTP_TRIGGERS,
  PACKAGES,
  TIME_TRIGGERS,
  WORKFLOW_RUNS,
  WORKFLOWS,
} from "../kube/kinds.ts";
import type { KubeObject } from "../kube/object.ts";
import { resourceType } from "../kube/resource.ts";
import { dataReferences } from "./function/resolve.ts";
import { slimPackage } from "./package/slim.ts";

/** A secret or config map of which only the existence and version matter here: values never stay in this process. */
export type DataObject = KubeObject;

/** Local copies of everything that the reconcilers read. */
export interface World {
  readonly functions: Informer<FunctionObject>;
  readonly environments: Informer<Environment>;
  /** Without build logs, and with literal archives replaced by their digest (see `slimPackage`). */
  readonly packages: Informer<Package>;
  readonly triggers: Informer<HTTPTrigger>;
  /** Without bodies. */
  readonly timers: Informer<TimeTrigger>;
  readonly versions: Informer<FunctionVersion>;
  readonly aliases: Informer<FunctionAlias>;
  readonly canaries: Informer<CanaryConfig>;
  readonly workflows: Informer<Workflow>;
  /** Without inputs, once the runs have begun. */
  readonly workflowRuns: Informer<WorkflowRun>;
  readonly secrets: Informer<DataObject>;
  readonly configMaps: Informer<DataObject>;
  start(): void;
  /** Resolves when all copies hold a first list. */
  readonly synced: Promise<unknown>;
  isSynced(): boolean;
  /** The longest time in milliseconds that one of the copies was not known to be current. */
  stalenessMs(): number;
  stop(): Promise<void>;
}

/** Index names; values are `namespace/name`. */
export const BY_ENVIRONMENT = "environment";
export const BY_PACKAGE = "package";
export const BY_SECRET = "secret";
export const BY_CONFIG_MAP = "configMap";
export const BY_FUNCTION = "function";
export const BY_WORKFLOW = "workflow";
/** Triggers by what they claim (`claimShape`). */
export const BY_CLAIM = "claim";
/** Versions that are being deleted, by namespace. */
export const BY_DELETION = "deletion";

export function openWorld(client: KubeClient, onError: (kind: string, error: unknown) => void): World {
  const open = <T extends KubeObject>(options: Omit<InformerOptions<T>, "client" | "onError">): Informer<T> =>
    createInformer<T>({
      transform: withoutManagedFields,
      ...options,
      client,
      onError: (error) => onError(options.type.kind, error),
    });
  const world = {
    functions: open({ type: FUNCTIONS, indexes: functionIndexes }),
    environments: open({ type: ENVIRONMENTS }),
    packages: open({
      type: PACKAGES,
      transform: slimPackage,
      indexes: { [BY_ENVIRONMENT]: (pkg) => inNamespace(pkg, [pkg.spec.environment.name]) },
    }),
    triggers: open({
      type: HTTP_TRIGGERS,
      indexes: {
        [BY_FUNCTION]: (trigger) => inNamespace(trigger, functionNames(trigger.spec.functionref)),
        [BY_WORKFLOW]: (trigger) => inNamespace(trigger, [workflowName(trigger)]),
        [BY_CLAIM]: (trigger) => routeClaims(trigger).claims.map(claimShape),
      },
    }),
    timers: open({
      type: TIME_TRIGGERS,
      transform: withoutBody,
      indexes: { [BY_FUNCTION]: (timer) => inNamespace(timer, functionNames(timer.spec.functionref)) },
    }),
    versions: open({ type: FUNCTION_VERSIONS, indexes: versionIndexes }),
    aliases: open({
      type: FUNCTION_ALIASES,
      indexes: { [BY_FUNCTION]: (alias) => inNamespace(alias, [alias.spec.functionName]) },
    }),
    canaries: open({ type: CANARY_CONFIGS }),
    workflowRuns: open({ type: WORKFLOW_RUNS, transform: withoutInput }),
    workflows: open({
      type: WORKFLOWS,
      indexes: { [BY_PACKAGE]: (workflow) => inNamespace(workflow, [workflow.spec.package?.name]) },
    }),
    secrets: open<DataObject>({
      type: resourceType("v1", SECRETS.kind, SECRETS.plural),
      transform: metadataOnly,
    }),
    configMaps: open<DataObject>({
      type: resourceType("v1", CONFIG_MAPS.kind, CONFIG_MAPS.plural),
      transform: metadataOnly,
    }),
  };
  const all:
    | Informer<never>[]
    | Pick<Informer<KubeObject>, "start" | "stop" | "synced" | "hasSynced" | "stalenessMs">[] =
    Object.values(world);
  return {
    ...world,
    start: () => all.forEach((informer) => informer.start()),
    synced: Promise.all(all.map((informer) => informer.synced)),
    isSynced: () => all.every((informer) => informer.hasSynced()),
    stalenessMs: () => Math.max(...all.map((informer) => informer.stalenessMs())),
    stop: async () => {
      await Promise.all(all.map((informer) => informer.stop()));
    },
  };
}

/** Name of the workflow whose runs a trigger starts. */
export const workflowName = ({ spec }: HTTPTrigger): string | undefined =>
  spec.functionref.type === "workflow" ? spec.functionref.name : undefined;

/** Names of the functions that a trigger calls. */
export function functionNames({ type, name, functionweights }: FunctionReference): string[] {
  if (type === "workflow") return [];
  return type === "function-weights" ? Object.keys(functionweights ?? {}) : [name];
}

/** What a function, or the snapshot of one, refers to. */
const specIndexes = <T extends KubeObject>(specOf: (object: T) => FunctionSpec) => ({
  [BY_ENVIRONMENT]: (object: T) => inNamespace(object, [specOf(object).environment.name]),
  [BY_PACKAGE]: (object: T) => inNamespace(object, [specOf(object).package.packageref?.name]),
  [BY_SECRET]: (object: T) =>
    inNamespace(
      object,
      dataReferences(specOf(object)).secrets.map(({ name }) => name),
    ),
  [BY_CONFIG_MAP]: (object: T) =>
    inNamespace(
      object,
      dataReferences(specOf(object)).configMaps.map(({ name }) => name),
    ),
});
const functionIndexes = specIndexes<FunctionObject>(({ spec }) => spec);
const versionIndexes = {
  ...specIndexes<FunctionVersion>(({ spec }) => spec.snapshot),
  [BY_FUNCTION]: (version: FunctionVersion) => inNamespace(version, [version.spec.functionName]),
  [BY_DELETION]: ({ metadata }: FunctionVersion) =>
    metadata.deletionTimestamp ? [metadata.namespace ?? "default"] : [],
};

function inNamespace(object: KubeObject, names: (string | undefined)[]): string[] {
  const namespace = object.metadata.namespace ?? "default";
  return names
    .filter((name) => name !== undefined && name !== "")
    .map((name) => `${namespace}/${name ?? ""}`);
}

function withoutInput(run: WorkflowRun): WorkflowRun {
  const { input, ...spec } = run.spec;
  const begun = run.status?.phase !== undefined && run.status.phase !== "Pending";
  return withoutManagedFields(begun && input !== undefined ? { ...run, spec } : run);
}

function withoutBody(timer: TimeTrigger): TimeTrigger {
  const { body: _, ...spec } = timer.spec;
  return withoutManagedFields(timer.spec.body === undefined ? timer : { ...timer, spec });
}

function withoutManagedFields<T extends KubeObject>(object: T): T {
  if (!("managedFields" in object.metadata)) return object;
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

function metadataOnly(object: DataObject): DataObject {
  const { namespace, name, uid, resourceVersion } = object.metadata;
  return { metadata: { namespace, name, uid, resourceVersion } };
}
