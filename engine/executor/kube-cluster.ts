import { isDirectImage } from "../../api/direct-image.ts";
import type { Environment } from "../../api/kinds/environment.ts";
import type { FunctionVersion } from "../../api/kinds/index.ts";
import {
  API_GROUP_VERSION,
  LABEL_COMPONENT,
  LABEL_FUNCTION_UID,
  LABEL_MANAGED_BY,
  MANAGED_BY,
} from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import {
  AUTOSCALERS,
  type Autoscaler,
  CONFIG_MAPS,
  type ConfigMap,
  DEPLOYMENTS,
  ENDPOINT_SLICES,
  PODS,
  type Pod,
  REPLICA_SETS,
  SECRETS,
} from "../../kube/core.ts";
import { createEventRecorder } from "../../kube/events.ts";
import { createInformer, type Informer } from "../../kube/informer.ts";
import { ENVIRONMENTS, FUNCTION_ALIASES, FUNCTION_VERSIONS, FUNCTIONS } from "../../kube/kinds.ts";
import { isAlreadyExists, isConflict, isNotFound } from "../../kube/kube-error.ts";
import type { KubeObject } from "../../kube/object.ts";
import type {
  Cluster,
  EnvironmentSpec,
  HandOver,
  KubeData,
  KubeEnvironment,
  KubeFunction,
  KubeFunctionAlias,
  KubeFunctionVersion,
  KubePod,
  KubeSlice,
  ObjectMeta,
  PodManifest,
  ReplicaSetManifest,
  SliceManifest,
  Watched,
} from "./cluster.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { deploymentWrites } from "./kube-deployments.ts";
import { COMPONENT } from "./pod-manifest.ts";

export interface KubeClusterOptions {
  readonly client: KubeClient;
  readonly log: ExecutorLog;
  /** Image of the fetcher, for pods of foreign images. */
  readonly fetcherImage: string;
}

const OWN = `${LABEL_MANAGED_BY}=${MANAGED_BY},${LABEL_COMPONENT}=${COMPONENT}`;
const PAGE_SIZE = 500;
const HAND_OVER_TRIES = 5;

/** The executor's view of a Kubernetes API, over `kube/`. */
export function kubeCluster({ client, log, fetcherImage }: KubeClusterOptions): Cluster {
  const recorder = createEventRecorder({
    client,
    component: "isotope-executor",
    onError: (error) => log.warn("cannot write Event", { error }),
  });
  return {
    ...watches(client, log, fetcherImage),
    ...deploymentWrites(client),
    getFunction: async (namespace, name) => {
      const found = await client.find(FUNCTIONS, { namespace, name });
      return found && { metadata: metaOf(found), status: { serving: found.status?.serving } };
    },
    listVersions: async (namespace, functionUid) => {
      const labelSelector = `${LABEL_FUNCTION_UID}=${functionUid}`;
      const { items } = await client.list(FUNCTION_VERSIONS, { namespace, labelSelector });
      return items.map(versionOf);
    },
    getSecret: async (namespace, name) => dataOf(await client.find(SECRETS, { namespace, name })),
    getConfigMap: async (namespace, name) => dataOf(await client.find(CONFIG_MAPS, { namespace, name })),
    createPod: (manifest) => createPod(client, manifest),
    labelPod: (namespace, name, labels) => patchPod(client, namespace, name, { labels }),
    annotatePod: (namespace, name, annotations) => patchPod(client, namespace, name, { annotations }),
    handOverPod: (pod) => handOverPod(client, pod),
    applyReplicaSet: (replicaSet) => applyReplicaSet(client, replicaSet),
    orphanReplicaSet: (namespace, name) =>
      client.delete(REPLICA_SETS, { namespace, name }, { propagation: "Orphan" }),
    deletePod: async (namespace, name, { uid, graceSeconds }) => {
      try {
        await client.delete(
          PODS,
          { namespace, name },
          {
            preconditions: { uid },
            ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds }),
          },
        );
      } catch (error) {
        // Another pod has the name by now: ours is gone.
        if (!isConflict(error)) throw error;
      }
    },
    listSlices: () => listSlices(client),
    applySlice: (slice) => applySlice(client, slice),
    deleteSlice: (namespace, name) => client.delete(ENDPOINT_SLICES, { namespace, name }),
    emitEvent: ({ kind, metadata, type, reason, message }) =>
      recorder.record(
        { apiVersion: API_GROUP_VERSION, kind, metadata: { ...plain(metadata) } },
        type,
        reason,
        message,
      ),
  };
}

type Watches = Pick<
  Cluster,
  | "functions"
  | "versions"
  | "aliases"
  | "environments"
  | "pods"
  | "replicaSets"
  | "deployments"
  | "autoscalers"
>;

/** Kinds that the executor follows, none of them before it is started. */
function watches(client: KubeClient, log: ExecutorLog, fetcherImage: string): Watches {
  const onError = (kind: string) => (error: unknown, failures: number) => {
    if (failures === 0 || failures === 3) log.warn(`trouble with the watch of ${kind}`, { error, failures });
  };
  return {
    functions: watched(
      createInformer({ client, type: FUNCTIONS, onError: onError("Functions") }),
      (object): KubeFunction => ({ metadata: metaOf(object), status: { serving: object.status?.serving } }),
    ),
    versions: watched(
      createInformer({
        client,
        type: FUNCTION_VERSIONS,
        transform: withoutSnapshot,
        onError: onError("FunctionVersions"),
      }),
      versionOf,
    ),
    aliases: watched(
      createInformer({ client, type: FUNCTION_ALIASES, onError: onError("FunctionAliases") }),
      (object): KubeFunctionAlias => ({
        metadata: metaOf(object),
        spec: object.spec,
        ...(object.status ? { status: object.status } : {}),
      }),
    ),
    environments: watched(
      createInformer({ client, type: ENVIRONMENTS, onError: onError("Environments") }),
      (object): KubeEnvironment => ({
        metadata: metaOf(object),
        spec: environmentSpec(object, fetcherImage),
      }),
    ),
    pods: watched(
      createInformer({
        client,
        type: PODS,
        labelSelector: OWN,
        transform: withoutSpec,
        onError: onError("pods"),
      }),
      podOf,
    ),
    replicaSets: watched(
      createInformer({
        client,
        type: REPLICA_SETS,
        labelSelector: OWN,
        onError: onError("ReplicaSets"),
      }),
      (object) => ({ metadata: metaOf(object), replicas: object.spec.replicas ?? 1 }),
    ),
    deployments: watched(
      createInformer({
        client,
        type: DEPLOYMENTS,
        labelSelector: OWN,
        onError: onError("Deployments"),
      }),
      (object) => ({ metadata: metaOf(object), replicas: object.spec.replicas ?? 1 }),
    ),
    autoscalers: watched(
      createInformer({
        client,
        type: AUTOSCALERS,
        labelSelector: OWN,
        onError: onError("HorizontalPodAutoscalers"),
      }),
      (object) => ({ metadata: metaOf(object), active: isActive(object) }),
    ),
  };
}

async function patchPod(
  client: KubeClient,
  namespace: string,
  name: string,
  metadata: Record<string, unknown>,
): Promise<boolean> {
  try {
    await client.patch(PODS, { namespace, name }, { metadata });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** The version that was read is part of the write, so that an owner that came meanwhile is not lost. */
async function handOverPod(client: KubeClient, given: HandOver): Promise<boolean> {
  const { namespace, name, uid, labels, annotations } = given;
  for (let attempt = 1; ; attempt += 1) {
    const pod = await client.find(PODS, { namespace, name });
    if (pod?.metadata.uid !== uid) return false;
    const { ownerReferences = [], resourceVersion } = pod.metadata;
    const kept = ownerReferences.filter(({ kind }) => kind !== "Environment");
    try {
      return await patchPod(client, namespace, name, {
        uid,
        resourceVersion,
        labels,
        annotations,
        ownerReferences: kept.length > 0 ? kept : null,
      });
    } catch (error) {
      if (!isConflict(error) || attempt === HAND_OVER_TRIES) throw error;
    }
  }
}

async function applyReplicaSet(client: KubeClient, given: ReplicaSetManifest): Promise<number> {
  const { name, namespace, labels, ownerReferences = [] } = given.metadata;
  const ref = { namespace, name };
  const { replicas, selector, template } = given.spec;
  const podTemplate = { metadata: template.metadata, spec: { containers: [], ...template.spec } };
  try {
    const patched = await client.patch(REPLICA_SETS, ref, { spec: { replicas, template: podTemplate } });
    return patched.metadata.generation ?? 0;
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  const created = await client.create(REPLICA_SETS, {
    metadata: { ...ref, labels, ownerReferences: [...ownerReferences] },
    spec: { replicas, selector, template: podTemplate },
  });
  return created.metadata.generation ?? 0;
}

/** Patches what exists, creates what does not; both orders of a race end in one slice with this content. */
async function applySlice(client: KubeClient, slice: SliceManifest): Promise<void> {
  const { metadata, addressType } = slice;
  const ports = slice.ports.map((port) => ({ ...port }));
  const endpoints = slice.endpoints.map((endpoint) => ({ ...endpoint, addresses: [...endpoint.addresses] }));
  const ref = { namespace: metadata.namespace, name: metadata.name };
  const meta = { ...ref, labels: metadata.labels, annotations: metadata.annotations ?? {} };
  try {
    await client.patch(ENDPOINT_SLICES, ref, { metadata: meta, ports, endpoints });
    return;
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  try {
    const ownerReferences = [...(metadata.ownerReferences ?? [])];
    await client.create(ENDPOINT_SLICES, {
      metadata: { ...meta, ownerReferences },
      addressType,
      ports,
      endpoints,
    });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    await client.patch(ENDPOINT_SLICES, ref, { metadata: meta, ports, endpoints });
  }
}

function watched<K extends KubeObject, T>(informer: Informer<K>, convert: (object: K) => T): Watched<T> {
  return {
    start: async (events) => {
      informer.subscribe({
        onAdd: (object) => events.upsert(convert(object)),
        onUpdate: (object) => events.upsert(convert(object)),
        onDelete: (object) => events.remove(convert(object)),
      });
      informer.start();
      await informer.synced;
    },
    stop: () => informer.stop(),
  };
}

function metaOf({ metadata }: KubeObject): ObjectMeta {
  return {
    name: metadata.name,
    namespace: metadata.namespace ?? "default",
    uid: metadata.uid ?? "",
    ...(metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion }),
    ...(metadata.generation === undefined ? {} : { generation: metadata.generation }),
    ...(metadata.labels === undefined ? {} : { labels: metadata.labels }),
    ...(metadata.annotations === undefined ? {} : { annotations: metadata.annotations }),
    ...(metadata.deletionTimestamp === undefined ? {} : { deletionTimestamp: metadata.deletionTimestamp }),
  };
}

const isActive = ({ status }: Autoscaler): boolean =>
  status?.conditions?.some(({ type, status }) => type === "ScalingActive" && status === "True") ?? false;

const plain = ({ name, namespace, uid }: ObjectMeta) => ({ name, namespace, uid });

/** The executor reads no pod's spec, and ten thousand of them would fill its memory. */
function withoutSpec(pod: Pod): Pod {
  return { metadata: pod.metadata, spec: { containers: [] }, ...(pod.status ? { status: pod.status } : {}) };
}

/** A snapshot is as large as its Function, and what it serves says all of it that matters here. */
function withoutSnapshot(version: FunctionVersion): FunctionVersion {
  const { snapshot, ...spec } = version.spec;
  const { environment, package: code, InvokeStrategy } = snapshot;
  return { ...version, spec: { ...spec, snapshot: { environment, package: code, InvokeStrategy } } };
}

function versionOf(object: FunctionVersion): KubeFunctionVersion {
  const { functionName, functionUID } = object.spec;
  return {
    metadata: metaOf(object),
    spec: { functionName, functionUID },
    status: { serving: object.status?.serving },
  };
}

function podOf(pod: Pod): KubePod {
  return { metadata: metaOf(pod), ...(pod.status ? { status: pod.status } : {}) };
}

function dataOf(
  found: (KubeObject & Pick<ConfigMap, "data" | "binaryData">) | undefined,
): KubeData | undefined {
  if (!found) return undefined;
  return {
    ...(found.data ? { data: found.data } : {}),
    ...(found.binaryData ? { binaryData: found.binaryData } : {}),
  };
}

function environmentSpec({ metadata, spec }: Environment, fetcherImage: string): EnvironmentSpec {
  const sidecar = isDirectImage(spec.runtime.image, metadata.annotations)
    ? undefined
    : {
        image: fetcherImage,
        shared: spec.allowedFunctionsPerContainer === "infinite",
        keepArchive: spec.keeparchive ?? false,
      };
  const { version, runtime, resources, poolsize, terminationGracePeriod, imagepullsecret } = spec;
  return {
    version,
    runtime,
    ...(sidecar === undefined ? {} : { sidecar }),
    ...(resources === undefined ? {} : { resources }),
    ...(poolsize === undefined ? {} : { poolsize }),
    ...(terminationGracePeriod === undefined ? {} : { terminationGracePeriod }),
    ...(imagepullsecret === undefined ? {} : { imagepullsecret }),
  };
}

async function createPod(client: KubeClient, { metadata, spec }: PodManifest): Promise<KubePod> {
  const { name, namespace, labels, ownerReferences = [] } = metadata;
  const meta = { name, namespace, labels, ownerReferences: [...ownerReferences] };
  return podOf(await client.create(PODS, { metadata: meta, spec: { containers: [], ...spec } }));
}

async function listSlices(client: KubeClient): Promise<KubeSlice[]> {
  const found: KubeSlice[] = [];
  let next: string | undefined;
  do {
    const page = await client.list(ENDPOINT_SLICES, {
      labelSelector: OWN,
      limit: PAGE_SIZE,
      ...(next === undefined ? {} : { continue: next }),
    });
    for (const slice of page.items) found.push({ metadata: metaOf(slice) });
    next = page.continue === "" ? undefined : page.continue;
  } while (next !== undefined);
  return found;
}
