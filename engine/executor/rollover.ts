import { PlatformError } from "../../api/errors.ts";
import { drainPod } from "./drain-pod.ts";
import type { Pod } from "./pod.ts";
import type { Revision } from "./revision.ts";

/**
 * What happens to the pods of a revision that is no longer served.
 *
 * Invariants
 * 1. A revision is withdrawn (its addresses unpublished) before any of its pods is retired.
 * 2. A pod that works is left alone until its function's timeout has passed.
 * 3. A revision that becomes current again keeps every pod that was not retired yet.
 */
export interface Rollover {
  superseded(revision: Revision, deleted: boolean): void;
  /** The revision is served (again). */
  current(revision: Revision): void;
  /** Whether the revision's addresses must not be published. */
  readonly isWithdrawn: (revision: Revision) => boolean;
  /** A pod joined a revision; a withdrawn one drains it too. */
  joined(revision: Revision, pod: Pod): void;
  /** A specialised pod that belongs to no revision that is known. */
  orphan(pod: Pod, deadlineMs: number): void;
  close(): void;
}

export interface RolloverOptions {
  readonly delayMs: number;
  readonly discard: (pod: Pod, reason: string, graceSeconds?: number) => void;
  /** The revision's published addresses changed. */
  readonly onWithdrawn: (revision: Revision) => void;
  /** Nobody asks for the revision any more. */
  readonly onDrained: (revision: Revision, error: PlatformError) => void;
}

/** How long a superseded revision still answers routers that have not seen the new one. */
const REMEMBER_MS = 60_000;
/** For streams without a longest duration. */
const ENDLESS_STREAM_MS = 600_000;

interface Leaving {
  withdrawn: boolean;
  timer: NodeJS.Timeout;
}

export function createRollover(options: RolloverOptions): Rollover {
  const leaving = new Map<Revision, Leaving>();
  let closed = false;

  const drain = (pod: Pod, deadlineMs: number, reason: string, stopped: () => boolean) => {
    const drained = async () => {
      await drainPod(pod, deadlineMs, () => closed || stopped());
      if (!closed && !stopped()) options.discard(pod, reason);
    };
    void drained();
  };

  const withdraw = (revision: Revision, deleted: boolean) => {
    const entry = leaving.get(revision);
    if (!entry) return;
    entry.withdrawn = true;
    options.onWithdrawn(revision);
    for (const pod of revision.pods()) joined(revision, pod);
    const error = deleted
      ? new PlatformError("function_not_found", `Function "${revision.identity.name}" was deleted`)
      : new PlatformError(
          "function_not_ready",
          `Revision "${revision.serving.revision}" is not served any more`,
        );
    entry.timer = setTimeout(
      () => {
        leaving.delete(revision);
        withdrawnForGood.add(revision);
        options.onDrained(revision, error);
      },
      deleted ? 0 : REMEMBER_MS,
    );
  };

  /** Revisions that nobody asks for any more, whose pods may still drain. */
  const withdrawnForGood = new WeakSet<Revision>();
  const isWithdrawn = (revision: Revision) =>
    withdrawnForGood.has(revision) || (leaving.get(revision)?.withdrawn ?? false);

  const joined = (revision: Revision, pod: Pod) => {
    if (isWithdrawn(revision))
      drain(
        pod,
        longestRequestMs(revision),
        "its revision is not served any more",
        () => !isWithdrawn(revision),
      );
  };

  return {
    superseded: (revision, deleted) => {
      const entry = leaving.get(revision);
      clearTimeout(entry?.timer);
      const timer = setTimeout(() => withdraw(revision, deleted), deleted ? 0 : options.delayMs);
      leaving.set(revision, { withdrawn: entry?.withdrawn ?? false, timer });
    },
    current: (revision) => {
      const entry = leaving.get(revision);
      if (!entry) return;
      clearTimeout(entry.timer);
      leaving.delete(revision);
      if (entry.withdrawn) options.onWithdrawn(revision);
    },
    isWithdrawn,
    joined,
    orphan: (pod, deadlineMs) => drain(pod, deadlineMs, "its revision is not served any more", () => false),
    close: () => {
      closed = true;
      for (const { timer } of leaving.values()) clearTimeout(timer);
    },
  };
}

/** So long one request of the revision may take, in milliseconds. */
export function longestRequestMs({ serving }: Revision): number {
  const { streaming, timeoutMs } = serving.limits;
  if (streaming) return streaming.maxDurationMs === 0 ? ENDLESS_STREAM_MS : streaming.maxDurationMs;
  return timeoutMs === 0 ? ENDLESS_STREAM_MS : timeoutMs;
}
