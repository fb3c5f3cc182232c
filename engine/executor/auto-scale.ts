import type { Pod } from "./pod.ts";
import type { Revision } from "./revision.ts";
import { longestRequestMs } from "./rollover.ts";

/**
 * Brings revisions of type `auto` to the number of pods that their load asks for.
 *
 * Invariants
 * 1. A pod that is to go gets nothing new first (its address is unpublished), and goes when it is quiet.
 * 2. A pod that is wanted again before it went stays.
 * 3. A pod that is younger than a lower load must last stays, since somebody asked for it though no report may have said so; unless none
 *    is wanted, which is said after the idle time only.
 */
export interface AutoScale {
  readonly joined: (pod: Pod) => void;
  readonly apply: (revision: Revision, pods: number) => void;
  /** A request waits for the revision: a pod of it that is about to go stays. */
  readonly keepOne: (revision: Revision) => void;
  readonly close: () => void;
}

export interface AutoScaleOptions {
  readonly downAfterMs: number;
  readonly now: () => number;
  /** The pod is about to be drained by somebody else than whoever watches it for idleness. */
  readonly onDraining: (pod: Pod) => void;
  /** The pod stays after all. */
  readonly onKept: (revision: Revision, pod: Pod) => void;
  /** Resolves when the pod, which gets nothing new, may go; or soon after it is stopped. */
  readonly drained: (pod: Pod, deadlineMs: number, stopped: () => boolean) => Promise<void>;
  /** The pod has nothing left to do; no other is wanted in its place. */
  readonly release: (pod: Pod, reason: string) => void;
}

export function createAutoScale(options: AutoScaleOptions): AutoScale {
  const draining = new Map<Pod, Revision>();
  const joinedAtMs = new WeakMap<Pod, number>();
  let closed = false;

  const drain = async (revision: Revision, pod: Pod): Promise<void> => {
    draining.set(pod, revision);
    revision.withdraw(pod);
    options.onDraining(pod);
    const stopped = () => closed || draining.get(pod) !== revision;
    await options.drained(pod, longestRequestMs(revision), stopped);
    if (stopped()) return;
    draining.delete(pod);
    options.release(pod, "its revision needs fewer pods");
  };

  const keep = (revision: Revision, pods: number) => {
    let missing = pods;
    for (const [pod, of] of draining) {
      if (missing <= 0) return missing;
      if (of !== revision) continue;
      draining.delete(pod);
      if (pod.phase !== "specialised") continue;
      revision.restore(pod);
      options.onKept(revision, pod);
      missing -= 1;
    }
    return missing;
  };

  return {
    joined: (pod) => void joinedAtMs.set(pod, options.now()),
    apply: (revision, pods) => {
      const available = revision.available();
      const surplus = available.length - pods;
      const youngestMs = options.now() - options.downAfterMs;
      // The newest go first: those before them have had time to become fast.
      for (const pod of surplus > 0 ? available.slice(-surplus) : [])
        if (pods === 0 || (joinedAtMs.get(pod) ?? 0) <= youngestMs) void drain(revision, pod);
      if (surplus >= 0) return;
      const missing = keep(revision, -surplus);
      if (missing > revision.snapshot().starting) revision.warm(revision.pods().size + missing);
    },
    keepOne: (revision) => void keep(revision, 1),
    close: () => {
      closed = true;
    },
  };
}
