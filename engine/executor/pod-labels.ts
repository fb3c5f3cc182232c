import type { Cluster } from "./cluster.ts";
import type { ExecutorLog } from "./executor-log.ts";
import type { Pod } from "./pod.ts";
import { servedLabels } from "./replica-set-manifest.ts";
import type { Revision } from "./revision.ts";

/** Writes on pods what they serve, for people and for the next executor; nothing waits for it. */
export interface PodLabels {
  specialised(revision: Revision, pod: Pod): void;
  settled(): Promise<void>;
  close(): void;
}

export interface PodLabelsOptions {
  readonly cluster: Pick<Cluster, "labelPod">;
  readonly log: ExecutorLog;
  /** Called before a write; for tests of crashes. */
  readonly beforeWrite?: () => void;
}

const PARALLEL = 4;
const DELAY_MS = 50;
const RETRY_MS = { first: 500, most: 30_000 };

export function createPodLabels(options: PodLabelsOptions): PodLabels {
  const queue: { pod: Pod; labels: Record<string, string>; delayMs: number }[] = [];
  let running = 0;
  let delayed = 0;
  let closed = false;
  let idle: (() => void)[] = [];

  const next = (): void => {
    while (running < PARALLEL) {
      const job = closed ? undefined : queue.shift();
      if (!job) break;
      if (job.pod.phase === "leaving") continue;
      running += 1;
      options.beforeWrite?.();
      options.cluster
        .labelPod(job.pod.namespace, job.pod.name, job.labels)
        .catch((error: unknown) => {
          options.log.warn("cannot label pod, trying again", { pod: job.pod.name, error });
          delayed += 1;
          setTimeout(() => {
            delayed -= 1;
            queue.push({ ...job, delayMs: Math.min(job.delayMs * 2, RETRY_MS.most) });
            next();
          }, job.delayMs).unref();
        })
        .finally(() => {
          running -= 1;
          next();
        });
    }
    if (running + queue.length + delayed > 0) return;
    for (const resolve of idle) resolve();
    idle = [];
  };

  return {
    specialised: (revision, pod) => {
      queue.push({ pod, labels: servedLabels(revision), delayMs: RETRY_MS.first });
      // Nobody waits for labels, but the first request of a cold start does wait for the processor.
      setTimeout(next, DELAY_MS);
    },
    settled: () =>
      running + queue.length + delayed === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            idle.push(resolve);
          }),
    close: () => {
      closed = true;
    },
  };
}
