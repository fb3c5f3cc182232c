import type { KubeObject, KubeObjectInput } from "./kube-object.ts";

/**
 * `plural` for the core group, `plural.group` for others: "pods", "deployments.apps",
 * "endpointslices.discovery.k8s.io", "leases.coordination.k8s.io".
 */
export type ResourceName = string;

export type WatchEventType = "ADDED" | "MODIFIED" | "DELETED";

export interface StoreEvent {
  type: WatchEventType;
  /** For DELETED: the last state, with the resourceVersion of the deletion. */
  object: KubeObject;
}

export interface ListFilter {
  namespace?: string;
  /** As in the query parameter, for example `app=web,tier!=db`. */
  labelSelector?: string;
  /** As in the query parameter, for example `spec.nodeName=local`. */
  fieldSelector?: string;
}

export interface DeleteOptions {
  /** 0 removes a pod at once; unset takes the pod's own grace period. Other kinds ignore it. */
  gracePeriodSeconds?: number;
  propagationPolicy?: "Background" | "Foreground" | "Orphan";
  preconditions?: { uid?: string; resourceVersion?: string };
}

/**
 * The API server seen from inside its process. Every write takes the same road as a request over HTTP
 * (defaults, validation, admission, generation, finalizers) and settles only after it is on disk.
 *
 * Errors: all methods throw or reject with `ApiError`, whose `code` and `reason` are those of the Status
 * a client would get (404 NotFound, 409 Conflict or AlreadyExists, 422 Invalid, 410 Expired).
 */
export interface Store {
  /** Undefined when there is none. `namespace` is undefined for what is cluster-scoped. */
  get(resource: ResourceName, namespace: string | undefined, name: string): KubeObject | undefined;
  /** Sorted by namespace and name. `resourceVersion` is where a watch may go on from. */
  list(resource: ResourceName, filter?: ListFilter): { items: KubeObject[]; resourceVersion: string };
  /** The name comes from metadata.name or metadata.generateName. */
  create(resource: ResourceName, object: KubeObjectInput): Promise<KubeObject>;
  /** Replaces all but the status. With metadata.resourceVersion set, a newer stored version is a 409. */
  update(resource: ResourceName, object: KubeObjectInput): Promise<KubeObject>;
  /** Replaces the status only; the same rule for metadata.resourceVersion. */
  updateStatus(resource: ResourceName, object: KubeObjectInput): Promise<KubeObject>;
  /** A JSON merge patch (RFC 7386): null removes. With `subresource: "status"` only the status is touched. */
  patch(
    resource: ResourceName,
    namespace: string | undefined,
    name: string,
    mergePatch: Record<string, unknown>,
    options?: { subresource?: "status" },
  ): Promise<KubeObject>;
  /**
   * As a DELETE request: a pod on a node only gets its deletionTimestamp (delete it again with
   * gracePeriodSeconds 0 once its processes are gone); an object with finalizers waits for them.
   */
  delete(
    resource: ResourceName,
    namespace: string | undefined,
    name: string,
    options?: DeleteOptions,
  ): Promise<void>;
  /**
   * Events in commit order, each delivered after its commit. `fromResourceVersion` undefined: first an ADDED
   * for everything there is (synchronously), then what follows. Throws 410 when the version is too old.
   * The listener must not throw. Returns the function that ends the watch.
   */
  watch(
    resource: ResourceName,
    fromResourceVersion: string | undefined,
    listener: (event: StoreEvent) => void,
  ): () => void;
}
