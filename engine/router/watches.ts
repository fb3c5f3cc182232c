import { API_GROUP_VERSION, LABEL_FUNCTION_UID } from "../../api/names.ts";
import type { RoutedTrigger } from "../../api/routes.ts";
import type { KubeClient } from "../../kube/client.ts";
import { ENDPOINT_SLICES, type EndpointSlice } from "../../kube/core.ts";
import { createInformer, type Informer } from "../../kube/informer.ts";
import { type KubeObject, keyOf } from "../../kube/object.ts";
import { resourceType } from "../../kube/resource.ts";
import type { Log } from "../../net/log.ts";
import type { MetricsRegistry } from "../../net/metrics.ts";
import type { ServedFunction } from "./function-table.ts";

export interface WatchSinks {
  readonly onFunction: (key: string, object: ServedFunction | undefined) => void;
  readonly onTrigger: (key: string, trigger: RoutedTrigger | undefined) => void;
  readonly onSlice: (key: string, slice: EndpointSlice | undefined) => void;
}

export interface Watches {
  /** Resolves when functions, triggers and endpoints were listed once and the sinks have seen them. */
  readonly synced: Promise<void>;
  /** Undefined when synced, else which watch is not. */
  notSynced(): string | undefined;
  stop(): Promise<void>;
}

/** One log line for a watch that fails, then one for every so many failures in a row. */
const LOG_EVERY_FAILURES = 20;

type TriggerObject = KubeObject & RoutedTrigger;
// Not from kube/kinds.ts: the schemas of all kinds would cost the router several megabytes and part of its start.
const SERVED_FUNCTIONS = resourceType<ServedFunction>(API_GROUP_VERSION, "Function", "functions");
const ROUTED_TRIGGERS = resourceType<TriggerObject>(API_GROUP_VERSION, "HTTPTrigger", "httptriggers");

/** Follows the three kinds that decide where requests go. What was seen stays in force while the API server cannot be reached. */
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
  const triggers = createInformer<TriggerObject>({
    client,
    type: ROUTED_TRIGGERS,
    transform: (object) => ({ metadata: metadataOf(object), spec: object.spec }),
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
  follow(triggers, sinks.onTrigger);
  follow(slices, sinks.onSlice);
  const all: Readonly<Record<string, Pick<Informer<KubeObject>, "hasSynced" | "stalenessMs">>> = {
    functions,
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
  for (const informer of [functions, triggers, slices]) informer.start();
  return {
    synced: Promise.all([functions.synced, triggers.synced, slices.synced]).then(() => undefined),
    notSynced: () => {
      const missing = Object.entries(all).find(([, informer]) => !informer.hasSynced());
      return missing ? `the watch of ${missing[0]} is not synced` : undefined;
    },
    stop: async () => {
      await Promise.all([functions.stop(), triggers.stop(), slices.stop()]);
    },
  };
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
