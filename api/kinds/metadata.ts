/** What every Kubernetes object carries. Only what the platform reads; other fields pass through untouched. */
export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
}

/** An object of one of the platform's kinds. */
export interface Resource<Kind extends string, Spec, Status> {
  apiVersion: "fission.io/v1";
  kind: Kind;
  metadata: ObjectMeta;
  spec: Spec;
  status?: Status;
}
