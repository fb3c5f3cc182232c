import type { Pod } from "./pod.ts";
import type { Revision } from "./revision.ts";

/**
 * Releases pods that nobody used for the function's idle timeout.
 *
 * Invariants
 * 1. Only the pod decides that it is idle: it refuses everything from the moment it agrees, so no request is lost.
 * 2. pods − pods being asked ≥ retainPods, so that two pods asked at once do not both go.
 */
export interface IdleReaper {
  watch(revision: Revision, pod: Pod): void;
  forget(pod: Pod): void;
  close(): void;
}

export interface IdleReaperOptions {
  /** Pods that the revision keeps although they are idle. */
  readonly retained: (revision: Revision) => number;
  readonly discard: (pod: Pod, reason: string, graceSeconds?: number) => void;
}

const CALL_TIMEOUT_MS = 2_000;
/** Shortest pause between two questions; also the shortest idle timeout, since a pod is given out before its first request arrives. */
const SHORTEST_MS = 1_000;

/** A onceOnly pod that was given out is used at once or never: its caller left, or the answer was lost in a crash. */
const ONCE_ONLY_MS = 10_000;

function idleTimeoutMs({ serving }: Revision): number {
  const { idleTimeoutMs, onceOnly } = serving.limits;
  return Math.max(onceOnly ? Math.min(idleTimeoutMs, ONCE_ONLY_MS) : idleTimeoutMs, SHORTEST_MS);
}

export function createIdleReaper(options: IdleReaperOptions): IdleReaper {
  const timers = new Map<Pod, NodeJS.Timeout>();
  const asking = new Map<Revision, number>();

  const schedule = (revision: Revision, pod: Pod, delayMs: number) => {
    clearTimeout(timers.get(pod));
    timers.set(
      pod,
      setTimeout(() => void ask(revision, pod), Math.max(delayMs, SHORTEST_MS)),
    );
  };

  const ask = async (revision: Revision, pod: Pod): Promise<void> => {
    const idleMs = idleTimeoutMs(revision);
    const asked = asking.get(revision) ?? 0;
    if (revision.pods().size - asked <= options.retained(revision)) return schedule(revision, pod, idleMs);
    asking.set(revision, asked + 1);
    const status = await pod.calls?.retire(idleMs, CALL_TIMEOUT_MS);
    if (status?.state === "retired") options.discard(pod, `it was idle for ${idleMs} ms`, 0);
    const left = (asking.get(revision) ?? 1) - 1;
    if (left > 0) asking.set(revision, left);
    else asking.delete(revision);
    if (timers.has(pod)) schedule(revision, pod, status ? idleMs - status.idleMs : SHORTEST_MS);
  };

  return {
    watch: (revision, pod) => schedule(revision, pod, idleTimeoutMs(revision)),
    forget: (pod) => {
      clearTimeout(timers.get(pod));
      timers.delete(pod);
    },
    close: () => {
      for (const timer of timers.values()) clearTimeout(timer);
      timers.clear();
    },
  };
}
