import {
  ANNOTATION_PREVIEW,
  ANNOTATION_WORKFLOW_WAIT,
  ANNOTATION_STICKY,
  API_GROUP_VERSION,
  LABEL_FUNCTION_UID,
} from "../../api/names.ts";
import type { RoutedTrigger } from "../../api/routes.ts";
import type { KubeClient } from "../../kube/client.ts";
import { ENDPOINT_SLICES, type EndpointSlice } from "../../kube/core.ts";
import { createInformer, type Informer } from "../../kube/informer.ts";
import { type KubeObject, keyOf } from "../../kube/object.ts";
import { resourceType } from "../../kube/resource.ts";
import type { Log } from "../../net/log.ts";
import type { MetricsRegistry } from "../../net/metrics.ts";
import type { RoutedAlias } from "./alias-table.ts";
import type { ServedFunction, ServedVersion } from "./function-table.ts";

export interface WatchSinks {
  readonly onFunction: (key: string, object: ServedFunction | undefined) => void;
  readonly onVersion: (key: string, object: ServedVersion | undefined) => void;
  readonly onAlias: (key: string, object: RoutedAlias | undefined) => void;
  readonly onTrigger: (key: string, trigger: RoutedTrigger | undefined) => void;
  readonly onSlice: (key: string, slice: EndpointSlice | undefined) => void;
}

export interface Watches {
  /** Resolves when functions, versions, aliases, triggers and endpoints were listed once and the sinks have seen them. */
  readonly synced: Promise<void>;
  /** Undefined when synced, else which watch is not. */
  notSynced(): string | undefined;
  stop(): Promise<void>;
}

/** One log line for a watch that fails, then one for every so many failures in a row. */
const LOG_EVERY_FAILURES = 20;

const ROUTING_ANNOTATIONS = [ANNOTATION_PREVIEW, ANNOTATION_STICKY, ANNOTATION_WORKFLOW_WAIT];

type TriggerObject = KubeObject & RoutedTrigger;
// Not from kube/kinds.ts: the schemas of all kinds would cost the router several megabytes and part of its start.
const SERVED_FUNCTIONS = resourceType<ServedFunction>(API_GROUP_VERSION, "Function", "functions");
const SERVED_VERSIONS = resourceType<ServedVersion>(API_GROUP_VERSION, "FunctionVersion", "functionversions");
const ROUTED_ALIASES = resourceType<RoutedAlias>(API_GROUP_VERSION, "FunctionAlias", "functionaliases");
const ROUTED_TRIGGERS = resourceType<TriggerObject>(API_GROUP_VERSION, "HTTPTrigger", "httptriggers");

/** Follows the kinds that decide where requests go. What was seen stays in force while the API server cannot be reached. */
export function startWatches(
  client: KubeClient,
  sinks: WatchSinks,
  log: Log,
  registry: MetricsRegistry,
): Watches {
  const onError = (what: string) => (error: unknown, failures: number) => {
    if (failures === 0) log.error("Cannot apply a change", { what, error });
    else if (failures === 1 || failures % LOG_EVERY_FAILURES === 0)
      log.warn("Cannot watch; what is known stays in force", { what, failures, error });
  };
  const functions = createInformer<ServedFunction>({
    client,
    type: SERVED_FUNCTIONS,
    transform: (object) => ({ metadata: metadataOf(object), status: { serving: object.status?.serving } }),
    onError: onError("functions"),
  });
  const { versions, aliases } = releaseInformers(client, onError);
  const triggers = createInformer<TriggerObject>({
    client,
    type: ROUTED_TRIGGERS,
    transform: (object) => ({
      metadata: { ...metadataOf(object), ...annotationsOf(object) },
      spec: object.spec,
    }),
    onError: onError("httptriggers"),
  });
  const slices = createInformer<EndpointSlice>({
    client,
    type: ENDPOINT_SLICES,
    labelSelector: LABEL_FUNCTION_UID,
    transform: (object) => ({
      metadata: {
        ...metadataOf(object),
        labels: object.metadata.labels,
        annotations: object.metadata.annotations,
      },
      addressType: object.addressType,
      endpoints: object.endpoints,
      ...(object.ports ? { ports: object.ports } : {}),
    }),
    onError: onError("endpointslices"),
  });
  follow(functions, sinks.onFunction);
  follow(versions, sinks.onVersion);
  follow(aliases, sinks.onAlias);
  follow(triggers, sinks.onTrigger);
  follow(slices, sinks.onSlice);
  const all: Readonly<Record<string, Pick<Informer<KubeObject>, "hasSynced" | "stalenessMs">>> = {
    functions,
    functionversions: versions,
    functionaliases: aliases,
    httptriggers: triggers,
    endpointslices: slices,
  };
  const staleness = registry.gauge({
    name: "isotope_router_watch_staleness_ms",
    help: "Time since the API server was last heard; 0 while a watch is open, -1 before the first list",
    labels: ["kind"],
  });
  registry.onScrape(() => {
    for (const [kind, informer] of Object.entries(all)) {
      const ms = informer.stalenessMs();
      staleness.series({ kind }).value = Number.isFinite(ms) ? Math.round(ms) : -1;
    }
  });
  const informers = [functions, versions, aliases, triggers, slices];
  for (const informer of informers) informer.start();
  return {
    synced: Promise.all(informers.map((informer) => informer.synced)).then(() => undefined),
    notSynced: () => {
      const missing = Object.entries(all).find(([, informer]) => !informer.hasSynced());
      return missing ? `the watch of ${missing[0]} is not synced` : undefined;
    },
    stop: async () => {
      await Promise.all(informers.map((informer) => informer.stop()));
    },
  };
}

/** What a release consists of. */
function releaseInformers(
  client: KubeClient,
  onError: (what: string) => (error: unknown, failures: number) => void,
): { versions: Informer<ServedVersion>; aliases: Informer<RoutedAlias> } {
  const versions = createInformer<ServedVersion>({
    client,
    type: SERVED_VERSIONS,
    transform: ({ metadata, spec, status }) => ({
      metadata: metadataOf({ metadata }),
      spec: { functionName: spec.functionName, functionUID: spec.functionUID },
      status: { serving: status?.serving },
    }),
    onError: onError("functionversions"),
  });
  const aliases = createInformer<RoutedAlias>({
    client,
    type: ROUTED_ALIASES,
    transform: ({ metadata, spec, status }) => ({
      metadata: { ...metadataOf({ metadata }), ...annotationsOf({ metadata }) },
      spec,
      ...(status?.resolvedVersion ? { status: { resolvedVersion: status.resolvedVersion } } : {}),
    }),
    onError: onError("functionaliases"),
  });
  return { versions, aliases };
}

function follow<T extends KubeObject>(
  informer: Informer<T>,
  sink: (key: string, object: T | undefined) => void,
): void {
  informer.subscribe({
    onChange: (change) => {
      if (change.type === "delete") sink(keyOf(change.previous), undefined);
      else sink(keyOf(change.object), change.object);
    },
  });
}

/** The annotations that say how requests are split. */
function annotationsOf({ metadata }: KubeObject): Pick<KubeObject["metadata"], "annotations"> {
  const given = ROUTING_ANNOTATIONS.flatMap((name) => {
    const value = metadata.annotations?.[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return given.length === 0 ? {} : { annotations: Object.fromEntries(given) };
}

/** The little of an object's metadata that is kept. */
function metadataOf({ metadata }: KubeObject): KubeObject["metadata"] {
  const { name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp } = metadata;
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
  };
}
