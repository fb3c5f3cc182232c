import type { KubeObject } from "./object.ts";
import { resourceType } from "./resource.ts";

/** The core kinds that the platform reads or writes, cut down to the fields that it uses. */
export interface Secret extends KubeObject {
  type?: string;
  /** base64 per key. */
  data?: Record<string, string>;
  stringData?: Record<string, string>;
}
export interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
  binaryData?: Record<string, string>;
}

export interface ObjectReference {
  apiVersion?: string | undefined;
  kind?: string | undefined;
  namespace?: string | undefined;
  name?: string | undefined;
  uid?: string | undefined;
  resourceVersion?: string | undefined;
}

export interface KubeEvent extends KubeObject {
  involvedObject: ObjectReference;
  reason?: string;
  message?: string;
  type?: string;
  source?: { component?: string; host?: string };
  firstTimestamp?: string;
  lastTimestamp?: string;
  count?: number;
  reportingComponent?: string;
  reportingInstance?: string;
}

export interface Lease extends KubeObject {
  spec?: {
    holderIdentity?: string | null;
    leaseDurationSeconds?: number | null;
    acquireTime?: string | null;
    renewTime?: string | null;
    leaseTransitions?: number | null;
  };
}

export interface EnvVar {
  name: string;
  value?: string;
  valueFrom?: {
    secretKeyRef?: { name: string; key: string; optional?: boolean };
    configMapKeyRef?: { name: string; key: string; optional?: boolean };
    fieldRef?: { fieldPath: string };
  };
}
export interface Container {
  name: string;
  image: string;
  command?: string[];
  args?: string[];
  env?: EnvVar[];
  ports?: { name?: string; containerPort: number; protocol?: string }[];
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
  [field: string]: unknown;
}
export interface ContainerState {
  waiting?: { reason?: string; message?: string };
  running?: { startedAt?: string };
  terminated?: { exitCode: number; reason?: string; message?: string; finishedAt?: string };
}
export interface ContainerStatus {
  name: string;
  ready: boolean;
  restartCount: number;
  image?: string;
  containerID?: string;
  started?: boolean;
  state?: ContainerState;
  lastState?: ContainerState;
}
export interface PodSpec {
  containers: Container[];
  restartPolicy?: string;
  nodeName?: string;
  serviceAccountName?: string;
  automountServiceAccountToken?: boolean;
  enableServiceLinks?: boolean;
  terminationGracePeriodSeconds?: number;
  [field: string]: unknown;
}
export interface Pod extends KubeObject {
  spec: PodSpec;
  status?: {
    phase?: string;
    podIP?: string;
    hostIP?: string;
    reason?: string;
    message?: string;
    startTime?: string;
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
    containerStatuses?: ContainerStatus[];
  };
}

export interface EndpointSlice extends KubeObject {
  addressType: string;
  endpoints: {
    addresses: string[];
    conditions?: { ready?: boolean; serving?: boolean; terminating?: boolean };
    targetRef?: ObjectReference;
    nodeName?: string;
  }[];
  ports?: { name?: string; port?: number; protocol?: string }[];
}
/** Only what the executor writes and reads; the template is a pod's metadata and spec. */
export interface ReplicaSet extends KubeObject {
  spec: {
    replicas?: number;
    selector: { matchLabels?: Record<string, string> };
    template: {
      metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> };
      spec: PodSpec;
    };
  };
}
/** Likewise; the template is a pod's metadata and spec. */
export interface Deployment extends KubeObject {
  spec: {
    replicas?: number;
    selector: { matchLabels?: Record<string, string> };
    template: ReplicaSet["spec"]["template"];
    [field: string]: unknown;
  };
}
export interface Service extends KubeObject {
  spec: {
    selector?: Record<string, string>;
    ports?: { name?: string; port: number; targetPort?: number | string; protocol?: string }[];
    [field: string]: unknown;
  };
}
/** autoscaling/v2. */
export interface Autoscaler extends KubeObject {
  spec: { minReplicas?: number; maxReplicas: number; [field: string]: unknown };
  status?: { conditions?: { type: string; status: string; reason?: string }[] };
}
export const DEPLOYMENTS = resourceType<Deployment>("apps/v1", "Deployment", "deployments");
export const SERVICES = resourceType<Service>("v1", "Service", "services");
export const AUTOSCALERS = resourceType<Autoscaler>(
  "autoscaling/v2",
  "HorizontalPodAutoscaler",
  "horizontalpodautoscalers",
);
export const REPLICA_SETS = resourceType<ReplicaSet>("apps/v1", "ReplicaSet", "replicasets");
export const PODS = resourceType<Pod>("v1", "Pod", "pods");
export const SECRETS = resourceType<Secret>("v1", "Secret", "secrets");
export const CONFIG_MAPS = resourceType<ConfigMap>("v1", "ConfigMap", "configmaps");
export const EVENTS = resourceType<KubeEvent>("v1", "Event", "events");
export const LEASES = resourceType<Lease>("coordination.k8s.io/v1", "Lease", "leases");
export const ENDPOINT_SLICES = resourceType<EndpointSlice>(
  "discovery.k8s.io/v1",
  "EndpointSlice",
  "endpointslices",
);
