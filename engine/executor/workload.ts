import type { Pod } from "./pod.ts";
import { replicaSetName } from "./replica-set-manifest.ts";
import type { Revision } from "./revision.ts";

/** The ReplicaSet of one revision, as it is and as it is to be. */
export interface Workload {
  readonly revision: Revision;
  /** Name of the ReplicaSet. */
  readonly name: string;
  /** Pods that there should be. */
  replicas: number;
  /** What was written or seen last. */
  written: number | undefined;
  /** Fingerprint of the pod template that was written last. */
  template: string;
  generation: number;
  exists: boolean;
  /** The revision is served; its ReplicaSet is deleted otherwise. */
  open: boolean;
  /** Generic pods that the ReplicaSet made. */
  readonly spares: Set<Pod>;
  readonly joinedAtMs: Map<Pod, number>;
  /** Pods that serve and that the ReplicaSet does not count yet. */
  readonly toHandOver: Set<Pod>;
  /** Pods that go by the executor's decision. */
  readonly retiring: Set<Pod>;
  dirty: boolean;
  busy: boolean;
  /** Told when nothing is left to write. */
  readonly waiting: (() => void)[];
}

/** `before`: the workload of the same revision, which was dropped and is served again. */
export function newWorkload(revision: Revision, open: boolean, before: Workload | undefined): Workload {
  return {
    revision,
    name: replicaSetName(revision),
    replicas: 0,
    written: undefined,
    template: "",
    generation: before?.generation ?? 0,
    exists: before?.exists ?? false,
    open,
    spares: new Set(),
    joinedAtMs: new Map(),
    toHandOver: new Set(),
    retiring: new Set(),
    dirty: false,
    busy: false,
    waiting: [],
  };
}

/**
 * Pods that serve and that are not handed over yet, since the ReplicaSet would delete them first: the API server does not know that they
 * are ready. One that it made itself it counts from the beginning, and would delete if its number fell.
 */
export const unseen = ({ toHandOver }: Workload): number =>
  [...toHandOver].filter(({ phase, ready, counted }) => phase === "specialised" && !ready && !counted).length;

/** Replicas that may be written now. */
export const visibleReplicas = (workload: Workload): number =>
  Math.max(0, workload.replicas - unseen(workload));

/** Key of the revision's Environment, `namespace/name`. */
export const environmentKey = ({ identity, serving }: Pick<Revision, "identity" | "serving">): string =>
  `${identity.namespace}/${serving.environment.name}`;
