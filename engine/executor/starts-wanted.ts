/** What one revision has and is asked for at this moment. */
export interface Load {
  /** Requests that wait for a pod. */
  readonly demand: number;
  /** Pods to have in any case, e.g. ahead of a switch of revisions. */
  readonly floor: number;
  readonly requestsPerPod: number;
  /** Specialised pods. */
  readonly pods: number;
  /** Pods and specialisations together never pass this. */
  readonly concurrency: number;
  /** Specialisations at the same time as long as none has succeeded, so that broken code does not use up the pool. */
  readonly unprovenStarts: number;
  readonly proven: boolean;
}

/** Specialisations that should be under way; may be fewer than there are. */
export function startsTarget(load: Load): number {
  const asked = Math.max(Math.ceil(load.demand / load.requestsPerPod), load.floor - load.pods, 0);
  const room = Math.max(0, load.concurrency - load.pods);
  return Math.min(asked, room, load.proven ? Number.POSITIVE_INFINITY : load.unprovenStarts);
}
