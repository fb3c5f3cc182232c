/** What building needs of a Kubernetes API, and no more. */
export interface BuilderCluster {
  /** Pods with these labels, deleted ones that still end included. */
  listPods(namespace: string, labels: Readonly<Record<string, string>>): Promise<BuilderPodView[]>;
  getPod(namespace: string, name: string): Promise<BuilderPodView | undefined>;
  createPod(manifest: BuilderPodManifest): Promise<BuilderPodView>;
  /** Only the pod with this UID; one that is gone already is no error. */
  deletePod(namespace: string, name: string, uid: string): Promise<void>;
}

export interface BuilderPodView {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Whether it is being deleted. */
  readonly ending: boolean;
  readonly phase: string;
  readonly ready: boolean;
  readonly ip: string | undefined;
  /** Why a container does not run, e.g. `ErrImagePull`, with the system's message. */
  readonly waiting: { readonly reason: string; readonly message: string } | undefined;
}

export interface BuilderPodManifest {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Record<string, string>;
    readonly ownerReferences: readonly {
      readonly apiVersion: string;
      readonly kind: string;
      readonly name: string;
      readonly uid: string;
      readonly controller: boolean;
    }[];
  };
  readonly spec: Record<string, unknown>;
}
