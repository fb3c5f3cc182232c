import { errorText } from "../kubelet/error-text.ts";
import { makeEventRecorder } from "../kubelet/event-recorder.ts";
import type { RunningPart } from "../part.ts";
import type { KubeObject } from "../store/kube-object.ts";
import type { Store } from "../store/store.ts";
import { reconcileDeployment } from "./deployment.ts";
import { reconcileService } from "./endpoint-slices.ts";
import { type KeyedQueue, makeKeyedQueue } from "./keyed-queue.ts";
import { startHeartbeat } from "./node-heartbeat.ts";
import { type ControllerContext, reconcileReplicaSet } from "./replica-set.ts";
import { collectTerminatedPods } from "./terminated-pods.ts";
import { controllerOf, isDeployment, isReplicaSet, keyOf, selects } from "./workload.ts";

const POD_COLLECTION_MS = 20_000;
const KEPT_TERMINATED_PODS = 500;

export interface ControllerSettings {
  nodeName: string;
  /** Shown as the kubelet's version. */
  version: string;
  /** How many pods that are over are kept; the oldest beyond are deleted. */
  keptTerminatedPods?: number;
}

function ownerKey(object: KubeObject, kind: string): string | undefined {
  const owner = controllerOf(object);
  return owner?.kind === kind ? `${object.metadata.namespace ?? ""}/${owner.name}` : undefined;
}

interface Queues {
  deployments: KeyedQueue;
  replicaSets: KeyedQueue;
  services: KeyedQueue;
}

function addDeploymentsOf(store: Store, queues: Queues, set: KubeObject): void {
  const owner = ownerKey(set, "Deployment");
  if (owner !== undefined) {
    queues.deployments.add(owner);
    return;
  }
  for (const deployment of store.list("deployments.apps", { namespace: set.metadata.namespace ?? "default" })
    .items) {
    if (isDeployment(deployment) && selects(deployment.spec.selector, set.metadata.labels))
      queues.deployments.add(keyOf(deployment));
  }
}

function addWorkloadsOf(store: Store, queues: Queues, pod: KubeObject, type: string): void {
  const namespace = pod.metadata.namespace ?? "default";
  const owner = ownerKey(pod, "ReplicaSet");
  if (owner !== undefined) {
    queues.replicaSets.add(owner);
    // A Deployment of type Recreate waits for the last old pod to go.
    const set = store.get("replicasets.apps", namespace, controllerOf(pod)?.name ?? "");
    if (type === "DELETED" && set) addDeploymentsOf(store, queues, set);
  }
  for (const set of store.list("replicasets.apps", { namespace }).items) {
    const isMatch = isReplicaSet(set) && selects(set.spec.selector, pod.metadata.labels);
    // One with an owner elsewhere may have been let go by this set, or taken: both change what it counts.
    if (isMatch && owner === undefined) queues.replicaSets.add(keyOf(set));
  }
}

function follow(store: Store, queues: Queues): () => void {
  const selected = new Map<string, Set<string>>();
  const onPod = (pod: KubeObject, type: string): void => {
    addWorkloadsOf(store, queues, pod, type);
    const now = new Set<string>();
    for (const service of store.list("services", { namespace: pod.metadata.namespace ?? "default" }).items) {
      const selector = service.spec?.["selector"];
      const isMap = typeof selector === "object" && selector !== null && !Array.isArray(selector);
      const labels = pod.metadata.labels ?? {};
      if (isMap && Object.entries(selector).every(([key, value]) => labels[key] === value))
        now.add(keyOf(service));
    }
    const before = selected.get(pod.metadata.uid) ?? new Set();
    for (const key of new Set([...now, ...before])) queues.services.add(key);
    if (type === "DELETED" || now.size === 0) selected.delete(pod.metadata.uid);
    else selected.set(pod.metadata.uid, now);
  };
  const onReplicaSet = (set: KubeObject): void => {
    queues.replicaSets.add(keyOf(set));
    addDeploymentsOf(store, queues, set);
  };
  const onSlice = (slice: KubeObject): void => {
    const service = ownerKey(slice, "Service");
    if (service !== undefined) queues.services.add(service);
  };
  const ends = [
    store.watch("deployments.apps", undefined, ({ object }) => queues.deployments.add(keyOf(object))),
    store.watch("replicasets.apps", undefined, ({ object }) => onReplicaSet(object)),
    store.watch("services", undefined, ({ object }) => queues.services.add(keyOf(object))),
    store.watch("endpointslices.discovery.k8s.io", undefined, ({ object }) => onSlice(object)),
    store.watch("pods", undefined, ({ object, type }) => onPod(object, type)),
  ];
  return () => {
    for (const end of ends) end();
  };
}

/** Starts the built-in controllers: Deployments, ReplicaSets, EndpointSlices of Services, the Node, and the end of old pods. */
export async function startControllers(
  store: Store,
  settings: ControllerSettings,
  log: (message: string) => void,
): Promise<RunningPart> {
  const heartbeat = await startHeartbeat(store, settings.nodeName, settings.version, log);
  const contextOf = (component: string): ControllerContext => ({
    store,
    events: makeEventRecorder(store, component, log),
  });
  const forDeployments = contextOf("deployment-controller");
  const forReplicaSets = contextOf("replicaset-controller");
  const failed =
    (what: string) =>
    (key: string, error: unknown): void =>
      log(`${what} "${key}": ${errorText(error)}`);
  const queues: Queues = {
    deployments: makeKeyedQueue((key) => reconcileDeployment(forDeployments, key), failed("deployment")),
    replicaSets: makeKeyedQueue((key) => reconcileReplicaSet(forReplicaSets, key), failed("replica set")),
    services: makeKeyedQueue((key) => reconcileService(store, key), failed("service")),
  };
  const unfollow = follow(store, queues);
  let collecting: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    const keep = settings.keptTerminatedPods ?? KEPT_TERMINATED_PODS;
    collecting = collectTerminatedPods(store, keep).catch((error: unknown) =>
      log(`pods that are over: ${errorText(error)}`),
    );
  }, POD_COLLECTION_MS);

  return {
    async stop() {
      clearInterval(timer);
      unfollow();
      await Promise.all([
        ...Object.values(queues).map((queue: KeyedQueue) => queue.stop()),
        heartbeat.stop(),
        collecting,
      ]);
      await Promise.all([forDeployments.events.flush(), forReplicaSets.events.flush()]);
    },
  };
}
