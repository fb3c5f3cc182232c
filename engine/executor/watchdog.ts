import type { SuspectReport } from "../../api/wire/executor.ts";
import type { PodStatus } from "../../api/wire/pod.ts";
import type { ExecutorLog } from "./executor-log.ts";
import type { Pod } from "./pod.ts";
import type { Revision } from "./revision.ts";

/**
 * Finds pods that hang, died without notice, or are not what they are taken for.
 *
 * Invariants
 * 1. A pod is discarded for silence only after it did not answer for its function's timeout and a grace: a handler may block its
 *    event loop for as long as one request may take. A router's report shortens that to a few tries.
 * 2. At most one look at a pod at a time.
 */
export interface Watchdog {
  readonly watch: (revision: Revision, pod: Pod) => void;
  readonly forget: (pod: Pod) => void;
  /** A router could not use the pod. */
  readonly suspect: (report: SuspectReport) => void;
  readonly close: () => void;
}

export interface WatchdogOptions {
  readonly log: ExecutorLog;
  readonly discard: (pod: Pod, reason: string, graceSeconds?: number) => void;
  /** The pod with this UID; of a pod that several functions share, what one of them has in it. */
  readonly byUid: (uid: string) => Pod | undefined;
  readonly pollIntervalMs: number;
  readonly silenceGraceMs: number;
  readonly now?: () => number;
}

interface Watch {
  readonly revision: Revision;
  readonly pod: Pod;
  timer: NodeJS.Timeout | undefined;
  lastAnswerMs: number;
  looking: boolean;
}

const STATUS_TIMEOUT_MS = 1_000;
const SUSPECT_TRIES = 4;
const SUSPECT_TIMEOUT_MS = 500;
const SUSPECT_PAUSE_MS = 50;
/** For functions without a timeout (streaming). */
const UNLIMITED_SILENCE_MS = 60_000;
const ONCE_ONLY_POLL_MS = 500;

export function createWatchdog(options: WatchdogOptions): Watchdog {
  const now = options.now ?? Date.now;
  const watches = new Map<Pod, Watch>();

  const schedule = (watch: Watch, first = false) => {
    const { onceOnly } = watch.revision.serving.limits;
    const pauseMs = onceOnly ? Math.min(ONCE_ONLY_POLL_MS, options.pollIntervalMs) : options.pollIntervalMs;
    // The first look is at a random moment, so that pods of one burst are not all asked at the same time for ever.
    watch.timer = setTimeout(() => void look(watch), first ? pauseMs * (0.5 + Math.random() / 2) : pauseMs);
  };

  const look = async (watch: Watch): Promise<void> => {
    if (!watch.looking) {
      watch.looking = true;
      const status = await watch.pod.calls?.status(STATUS_TIMEOUT_MS);
      watch.looking = false;
      judge(watch, status);
    }
    if (watches.has(watch.pod)) schedule(watch);
  };

  const judge = (watch: Watch, status: PodStatus | "refused" | undefined) => {
    const { pod, revision } = watch;
    if (!watches.has(pod)) return;
    if (status === "refused") return kill(pod, "nothing listens at its address");
    if (status) {
      watch.lastAnswerMs = now();
      const wrong = whyWrong(pod, revision, status);
      if (wrong !== undefined) options.discard(pod, wrong, 0);
      return;
    }
    const { timeoutMs } = revision.serving.limits;
    const allowedMs = (timeoutMs === 0 ? UNLIMITED_SILENCE_MS : timeoutMs) + options.silenceGraceMs;
    if (now() - watch.lastAnswerMs > allowedMs)
      kill(pod, `it did not answer for ${now() - watch.lastAnswerMs} ms`);
  };

  const kill = (pod: Pod, reason: string) => {
    options.log.warn("pod is killed", { pod: pod.name, namespace: pod.namespace, reason });
    options.discard(pod, reason, 0);
  };

  const probe = async (watch: Watch, reason: SuspectReport["reason"]): Promise<void> => {
    if (watch.looking) return;
    watch.looking = true;
    for (let attempt = 1; attempt <= SUSPECT_TRIES && watches.has(watch.pod); attempt += 1) {
      const status = await watch.pod.calls?.status(SUSPECT_TIMEOUT_MS);
      if (status) {
        watch.looking = false;
        judge(watch, status);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, SUSPECT_PAUSE_MS).unref());
    }
    watch.looking = false;
    if (watches.has(watch.pod)) kill(watch.pod, `a router reported "${reason}" and it does not answer`);
  };

  return {
    watch: (revision, pod) => {
      const watch: Watch = { revision, pod, timer: undefined, lastAnswerMs: now(), looking: false };
      watches.set(pod, watch);
      schedule(watch, true);
    },
    forget: (pod) => {
      clearTimeout(watches.get(pod)?.timer);
      watches.delete(pod);
    },
    suspect: (report) => {
      const pod = options.byUid(report.podUid);
      const watch = pod && watches.get(pod);
      if (watch) void probe(watch, report.reason);
    },
    close: () => {
      for (const { timer } of watches.values()) clearTimeout(timer);
      watches.clear();
    },
  };
}

/** Why the pod must not serve the revision, or undefined. */
function whyWrong(pod: Pod, revision: Revision, status: PodStatus): string | undefined {
  if (status.podUid !== pod.uid) return `its address answers as pod "${status.podUid}"`;
  if (status.state !== "specialised") return `it says that it is ${status.state}`;
  if (status.revision !== revision.serving.revision)
    return `it says that it serves revision "${status.revision}"`;
  const { onceOnly } = revision.serving.limits;
  if (onceOnly && status.started > 0 && status.inFlight === 0) return "it served its one request";
  return undefined;
}
