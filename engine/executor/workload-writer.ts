import type { Cluster, KubeEnvironment, KubeReplicaSet } from "./cluster.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { podTemplate } from "./pod-manifest.ts";
import { replicaSetMaker, replicaSetManifest, servedLabels } from "./replica-set-manifest.ts";
import type { Revision } from "./revision.ts";
import { createTimers } from "./timers.ts";
import { visibleReplicas, type Workload } from "./workload.ts";

/** Writes workloads to the API server; it keeps invariants 1, 2 and 5 of `workloads.ts`. */
export interface WorkloadWriter {
  /** Something of the workload changed; it is written after `delayMs`, or with the write under way. */
  readonly touch: (workload: Workload, delayMs?: number) => void;
  /** A ReplicaSet of a revision that is not served: its pods are drained as those of any old revision. */
  readonly orphanStale: (object: KubeReplicaSet) => void;
  /** Resolves when nothing of the workload is left to write, or after a while; undefined when nothing is. */
  readonly written: (workload: Workload) => Promise<void> | undefined;
  readonly close: () => void;
}

export interface WorkloadWriterOptions {
  readonly cluster: Pick<Cluster, "applyReplicaSet" | "orphanReplicaSet" | "handOverPod" | "annotatePod">;
  readonly log: ExecutorLog;
  readonly tokensOf: (namespace: string, name: string) => readonly string[];
  readonly environment: (revision: Revision) => KubeEnvironment | undefined;
  /** Called before a write; for tests of crashes. */
  readonly beforeWrite?: (write: WorkloadWrite) => void;
  /** Nothing of the workload is left to write for now. */
  readonly onIdle: (workload: Workload) => void;
}

export type WorkloadWrite = "replicas" | "hand-over" | "retired";

const DELETION_COST = "controller.kubernetes.io/pod-deletion-cost";
const COST = { serving: "1000", retired: "-1000" };
const RETRY_MS = { first: 200, most: 10_000 };
/** A deletion waits no longer than that for writes that fail. */
const DELETE_WAIT_MS = 5_000;

interface State {
  readonly options: WorkloadWriterOptions;
  readonly later: (delayMs: number, run: () => void) => void;
  /** Workloads with a write under way or to come. */
  readonly busy: Set<Workload>;
  closed: boolean;
}

export function createWorkloadWriter(options: WorkloadWriterOptions): WorkloadWriter {
  const timers = createTimers();
  const state: State = { options, later: timers.later, busy: new Set(), closed: false };
  return {
    touch: (workload, delayMs = 0) => touch(state, workload, delayMs),
    orphanStale: (object) => orphanStale(state, object, RETRY_MS.first),
    written: (workload) => {
      if (state.closed || !(workload.busy || workload.dirty)) return undefined;
      return new Promise((resolve) => {
        workload.waiting.push(resolve);
        state.later(DELETE_WAIT_MS, resolve);
      });
    },
    close: () => {
      state.closed = true;
      timers.close();
      for (const { waiting } of state.busy) for (const resolve of waiting.splice(0)) resolve();
    },
  };
}

function touch(state: State, workload: Workload, delayMs: number): void {
  if (state.closed) return;
  workload.dirty = true;
  if (workload.busy) return;
  workload.busy = true;
  state.busy.add(workload);
  state.later(delayMs, () => void run(state, workload));
}

async function run(state: State, workload: Workload): Promise<void> {
  const { log, onIdle } = state.options;
  let delayMs = RETRY_MS.first;
  while (workload.dirty) {
    if (state.closed) break;
    workload.dirty = false;
    try {
      await write(state, workload);
      delayMs = RETRY_MS.first;
    } catch (error) {
      if (state.closed) break;
      workload.dirty = true;
      log.warn("cannot write ReplicaSet, trying again", { replicaSet: workload.name, error });
      const pauseMs = delayMs;
      await new Promise<void>((resolve) => state.later(pauseMs, resolve));
      delayMs = Math.min(delayMs * 2, RETRY_MS.most);
    }
  }
  workload.busy = false;
  state.busy.delete(workload);
  for (const resolve of workload.waiting.splice(0)) resolve();
  onIdle(workload);
}

async function write(state: State, workload: Workload): Promise<void> {
  const { cluster, beforeWrite } = state.options;
  if (!workload.open) {
    const { namespace } = workload.revision.identity;
    if (workload.exists) await cluster.orphanReplicaSet(namespace, workload.name);
    workload.exists = false;
    workload.retiring.clear();
    return;
  }
  let retiring = [...workload.retiring];
  if (workload.exists) {
    // Also those that are retired meanwhile, which the loop comes to: they lower the number too, and without their mark the ReplicaSet would delete others.
    for (const pod of workload.retiring) {
      beforeWrite?.("retired");
      await cluster.annotatePod(pod.namespace, pod.name, { [DELETION_COST]: COST.retired });
    }
    retiring = [...workload.retiring];
    await apply(state, workload);
  }
  await handOver(state, workload);
  // Pods that no ReplicaSet counts yet are labelled first, so that a new one finds as many as it is to have.
  if (!workload.exists && visibleReplicas(workload) > 0 && workload.open) await apply(state, workload);
  for (const pod of retiring) workload.retiring.delete(pod);
}

async function apply({ options }: State, workload: Workload): Promise<void> {
  const { revision, name } = workload;
  const environment = options.environment(revision);
  if (!environment) return;
  const replicas = visibleReplicas(workload);
  const template = podTemplate(environment);
  // What says nothing new could take back what somebody else has just said.
  if (workload.exists && workload.written === replicas && workload.template === template.hash) return;
  const [token = ""] = options.tokensOf(revision.identity.namespace, replicaSetMaker(name));
  options.beforeWrite?.("replicas");
  workload.written = replicas;
  const manifest = replicaSetManifest(revision, environment, template, replicas, token);
  workload.generation = Math.max(workload.generation, await options.cluster.applyReplicaSet(manifest));
  workload.exists = true;
  workload.template = template.hash;
}

async function handOver({ options }: State, { revision, toHandOver }: Workload): Promise<void> {
  const labels = servedLabels(revision);
  const annotations = { [DELETION_COST]: COST.serving };
  await Promise.all(
    [...toHandOver].map(async (pod) => {
      if (pod.phase === "specialised" && !pod.ready) return;
      if (pod.phase === "specialised") {
        options.beforeWrite?.("hand-over");
        const { namespace, name, uid } = pod;
        if (await options.cluster.handOverPod({ namespace, name, uid, labels, annotations }))
          pod.counted = true;
      }
      toHandOver.delete(pod);
    }),
  );
}

function orphanStale(state: State, object: KubeReplicaSet, delayMs: number): void {
  const { cluster, log } = state.options;
  const { namespace, name, deletionTimestamp } = object.metadata;
  if (deletionTimestamp !== undefined || state.closed) return;
  cluster.orphanReplicaSet(namespace, name).catch((error: unknown) => {
    log.warn("cannot delete ReplicaSet, trying again", { replicaSet: name, error });
    state.later(delayMs, () => orphanStale(state, object, Math.min(delayMs * 2, RETRY_MS.most)));
  });
}
