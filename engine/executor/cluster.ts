import type { FunctionAlias } from "../../api/kinds/index.ts";

/**
 * What the executor needs of a Kubernetes API, and no more. The composition root adapts `kube/` to it.
 * Objects are plain JSON as the API server sends them; fields that the executor does not read are left out.
 */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly deletionTimestamp?: unknown;
}

export interface ContainerStatus {
  readonly ready?: boolean;
  readonly restartCount?: number;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly terminated?: { readonly reason?: string; readonly message?: string; readonly exitCode?: number };
  };
}

export interface KubePod {
  readonly metadata: ObjectMeta;
  readonly status?: {
    readonly phase?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

/** A Function as far as the executor reads it: `status.serving` is parsed with `api/kinds/serving.ts`. */
export interface KubeFunction {
  readonly metadata: ObjectMeta;
  readonly status?: { readonly serving?: unknown };
}

/** A FunctionVersion: what of a Function somebody named, and what it serves. */
export interface KubeFunctionVersion {
  readonly metadata: ObjectMeta;
  readonly spec: { readonly functionName: string; readonly functionUID: string };
  readonly status?: { readonly serving?: unknown };
}

/** A FunctionAlias, as far as the executor reads it. */
export interface KubeFunctionAlias extends Pick<FunctionAlias, "spec" | "status"> {
  readonly metadata: ObjectMeta;
}

export interface KubeEnvironment {
  readonly metadata: ObjectMeta;
  readonly spec: EnvironmentSpec;
}

/** How pods of a foreign image are specialised: by the fetcher beside the runtime. */
export interface Sidecar {
  /** Of the fetcher. */
  readonly image: string;
  /** Whether one pod takes any number of functions (`allowedFunctionsPerContainer: infinite`). */
  readonly shared: boolean;
  readonly keepArchive: boolean;
}

export interface EnvironmentSpec {
  /** Absent for images that are specialised directly. */
  readonly sidecar?: Sidecar;
  readonly version: number;
  readonly runtime: { readonly image: string; readonly container?: unknown; readonly podspec?: unknown };
  readonly resources?: unknown;
  readonly poolsize?: number;
  readonly terminationGracePeriod?: number;
  readonly imagepullsecret?: string;
}

export interface KubeSlice {
  readonly metadata: Omit<ObjectMeta, "uid"> & { readonly uid?: string };
  readonly endpoints?: readonly {
    readonly addresses: readonly string[];
    readonly targetRef?: { readonly name?: string; readonly uid?: string };
  }[];
}

/** A ReplicaSet of a revision, as far as the executor reads it. */
export interface KubeReplicaSet {
  readonly metadata: ObjectMeta;
  readonly replicas: number;
}

/** A Deployment of a function, as far as the executor reads it. */
export interface KubeDeployment {
  readonly metadata: ObjectMeta;
  readonly replicas: number;
}

/** A HorizontalPodAutoscaler of a function. */
export interface KubeAutoscaler {
  readonly metadata: ObjectMeta;
  /** Whether it decides about replicas now: there is a controller, and its metrics are there. */
  readonly active: boolean;
}

/** A secret or config map: values as text or bytes in base64, as the API has them. */
export interface KubeData {
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

export interface WatchEvents<T> {
  upsert(object: T): void;
  remove(object: T): void;
}

/** A kind that is listed and watched; reconnecting is the implementation's business. */
export interface Watched<T> {
  /** Resolves when the first list was delivered. */
  start(events: WatchEvents<T>): Promise<void>;
  stop(): Promise<void>;
}

export interface DeletePodOptions {
  /** Only the pod with this UID; a successor of the same name stays. */
  readonly uid: string;
  /** Seconds between SIGTERM and SIGKILL; undefined = the pod's own. */
  readonly graceSeconds?: number;
}

export interface Cluster {
  readonly functions: Watched<KubeFunction>;
  readonly versions: Watched<KubeFunctionVersion>;
  readonly aliases: Watched<KubeFunctionAlias>;
  readonly environments: Watched<KubeEnvironment>;
  /** Pods labelled as the executor's only. */
  readonly pods: Watched<KubePod>;
  /** ReplicaSets labelled as the executor's only. */
  readonly replicaSets: Watched<KubeReplicaSet>;
  /** Deployments and HorizontalPodAutoscalers labelled as the executor's only. */
  readonly deployments: Watched<KubeDeployment>;
  readonly autoscalers: Watched<KubeAutoscaler>;
  readonly getFunction: (namespace: string, name: string) => Promise<KubeFunction | undefined>;
  /** Published versions of a function. */
  readonly listVersions: (namespace: string, functionUid: string) => Promise<readonly KubeFunctionVersion[]>;
  readonly getSecret: (namespace: string, name: string) => Promise<KubeData | undefined>;
  readonly getConfigMap: (namespace: string, name: string) => Promise<KubeData | undefined>;
  readonly createPod: (manifest: PodManifest) => Promise<KubePod>;
  /** Merge patch of labels; false when the pod is gone. */
  readonly labelPod: (namespace: string, name: string, labels: Record<string, string>) => Promise<boolean>;
  /** Merge patch of annotations; false when the pod is gone. */
  readonly annotatePod: (
    namespace: string,
    name: string,
    annotations: Record<string, string>,
  ) => Promise<boolean>;
  /**
   * Gives a pod the labels and annotations that make a ReplicaSet take it, and releases it from its Environment, in one write.
   * False when the pod is gone.
   */
  readonly handOverPod: (pod: HandOver) => Promise<boolean>;
  /** Creates the ReplicaSet or makes its replicas and template equal to this one's. Resolves to its generation. */
  readonly applyReplicaSet: (replicaSet: ReplicaSetManifest) => Promise<number>;
  /** Deletes the ReplicaSet and leaves its pods; one that is gone already is no error. */
  readonly orphanReplicaSet: (namespace: string, name: string) => Promise<void>;
  /** Creates the Deployment, or makes its labels and template equal to this one's and leaves its replicas. */
  readonly applyDeployment: (
    deployment: DeploymentManifest,
  ) => Promise<{ generation: number; replicas: number }>;
  /** Resolves to the Deployment's generation. */
  readonly scaleDeployment: (namespace: string, name: string, replicas: number) => Promise<number>;
  /** Deletes the Deployment, Service and HorizontalPodAutoscaler of this name; those that are gone already are no error. */
  readonly deleteDeployment: (namespace: string, name: string) => Promise<void>;
  readonly applyService: (service: ServiceManifest) => Promise<void>;
  readonly applyAutoscaler: (autoscaler: AutoscalerManifest) => Promise<void>;
  /** Says on a pod's status that it has its code; a pod that is gone is no error. */
  readonly markSpecialised: (pod: Pick<ObjectMeta, "namespace" | "name" | "uid">) => Promise<void>;
  /** Sets one condition of a Function's status; a Function that is gone, or another one by now, is no error. */
  readonly setCondition: (
    fn: Pick<ObjectMeta, "namespace" | "name" | "uid">,
    condition: ConditionUpdate,
  ) => Promise<void>;
  /** A pod that is gone already is no error. */
  readonly deletePod: (namespace: string, name: string, options: DeletePodOptions) => Promise<void>;
  /** All EndpointSlices that the executor wrote. */
  readonly listSlices: () => Promise<readonly KubeSlice[]>;
  /** Creates the slice or makes it equal to this one. */
  readonly applySlice: (slice: SliceManifest) => Promise<void>;
  /** A slice that is gone already is no error. */
  readonly deleteSlice: (namespace: string, name: string) => Promise<void>;
  /** A Kubernetes Event about an object; failures are logged by the implementation. */
  readonly emitEvent: (event: EventAbout) => void;
}

export interface EventAbout {
  readonly kind: "Environment" | "Function";
  readonly metadata: ObjectMeta;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

export interface ManifestMeta {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Record<string, string>;
  readonly annotations?: Record<string, string>;
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface PodManifest {
  readonly apiVersion: "v1";
  readonly kind: "Pod";
  readonly metadata: ManifestMeta;
  readonly spec: Record<string, unknown>;
}

export interface HandOver {
  readonly namespace: string;
  readonly name: string;
  /** Only the pod with this UID. */
  readonly uid: string;
  readonly labels: Record<string, string>;
  readonly annotations: Record<string, string>;
}

export interface ReplicaSetManifest {
  readonly apiVersion: "apps/v1";
  readonly kind: "ReplicaSet";
  readonly metadata: ManifestMeta;
  readonly spec: {
    readonly replicas: number;
    readonly selector: { readonly matchLabels: Record<string, string> };
    readonly template: {
      readonly metadata: {
        readonly labels: Record<string, string>;
        readonly annotations: Record<string, string>;
      };
      readonly spec: Record<string, unknown>;
    };
  };
}

export interface DeploymentManifest {
  readonly apiVersion: "apps/v1";
  readonly kind: "Deployment";
  readonly metadata: ManifestMeta;
  readonly spec: {
    readonly replicas: number;
    readonly selector: { readonly matchLabels: Record<string, string> };
    readonly strategy: Record<string, unknown>;
    readonly revisionHistoryLimit: number;
    readonly template: ReplicaSetManifest["spec"]["template"];
  };
}

export interface ServiceManifest {
  readonly apiVersion: "v1";
  readonly kind: "Service";
  readonly metadata: ManifestMeta;
  readonly spec: {
    readonly selector: Record<string, string>;
    readonly ports: readonly { name: string; port: number; targetPort: number; protocol: "TCP" }[];
  };
}

export interface AutoscalerManifest {
  readonly apiVersion: "autoscaling/v2";
  readonly kind: "HorizontalPodAutoscaler";
  readonly metadata: ManifestMeta;
  readonly spec: {
    readonly scaleTargetRef: Record<string, string>;
    readonly minReplicas: number;
    readonly maxReplicas: number;
    readonly metrics: readonly unknown[];
    readonly behavior?: unknown;
  };
}

/** A condition without the fields that the API's users do not choose. */
export interface ConditionUpdate {
  readonly type: string;
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
}

export interface SliceManifest {
  readonly apiVersion: "discovery.k8s.io/v1";
  readonly kind: "EndpointSlice";
  readonly metadata: ManifestMeta;
  readonly addressType: "IPv4" | "IPv6";
  readonly ports: readonly { readonly name: string; readonly port: number; readonly protocol: "TCP" }[];
  readonly endpoints: readonly SliceEndpoint[];
}

export interface SliceEndpoint {
  readonly addresses: readonly string[];
  readonly conditions: { readonly ready: boolean };
  readonly targetRef: {
    readonly kind: "Pod";
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
  };
}
