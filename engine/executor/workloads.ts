import {
  LABEL_ENVIRONMENT,
  LABEL_EXECUTOR_TYPE,
  LABEL_FUNCTION_UID,
  LABEL_REVISION,
} from "../../api/names.ts";
import type { KubeReplicaSet } from "./cluster.ts";
import type { Functions } from "./functions.ts";
import type { Pod } from "./pod.ts";
import { podTemplate } from "./pod-manifest.ts";
import { replicaSetMaker } from "./replica-set-manifest.ts";
import type { Revision } from "./revision.ts";
import { createTimers } from "./timers.ts";
import { environmentKey, newWorkload, unseen, type Workload } from "./workload.ts";
import { createWorkloadWriter, type WorkloadWriter, type WorkloadWriterOptions } from "./workload-writer.ts";

/**
 * The ReplicaSets of revisions of executor type `auto`: they take over the pods that serve, and make further ones.
 *
 * Invariants
 * 1. One writer per revision: its writes come one after the other, the newest state last; a failed one is tried again.
 * 2. Replicas are raised before a pod is handed over, which the API server must know to be ready, and lowered after the pod that goes
 *    was marked as the cheapest, so that the ReplicaSet never deletes a pod that serves to get to its number.
 * 3. A pod that goes by the executor's decision is deleted after replicas were lowered; any other one is replaced.
 * 4. A pod that a ReplicaSet made serves nothing before the executor specialised it, and its revision's concurrency counts it then.
 * 5. A revision that is withdrawn has no ReplicaSet before the first of its pods is deleted.
 */
export interface Workloads {
  /** Whether pods of the revision are given to a ReplicaSet. */
  readonly handles: (revision: Revision) => boolean;
  /** A specialised pod joined the revision. */
  readonly joined: (revision: Revision, pod: Pod) => void;
  /** The API server knows now that the pod is ready. */
  readonly seenReady: (pod: Pod) => void;
  /** A pod left; `failed`: it ended by itself. */
  readonly gone: (pod: Pod, failed: boolean) => void;
  /** The executor is about to discard the pod and wants no other in its place. */
  readonly scaledDown: (pod: Pod) => void;
  /** A pod that a ReplicaSet made is generic and ready. False when nobody wants it. */
  readonly ready: (pod: Pod) => boolean;
  /** A generic pod that the revision's ReplicaSet made, for the taking. */
  readonly spare: (revisionKey: string) => Pod | undefined;
  /** The revision was withdrawn, or is served again. */
  readonly changed: (revision: Revision) => void;
  readonly environmentDeleted: (key: string) => void;
  readonly observe: (object: KubeReplicaSet) => void;
  readonly vanish: (object: KubeReplicaSet) => void;
  /** Resolves when writes that must come before the pod's deletion are done; undefined when there are none. */
  readonly beforeDelete: (pod: Pod) => Promise<void> | undefined;
  /** The pods of the process before this one have said what they are: what is missing now is really missing. */
  readonly open: () => void;
  readonly settled: () => Promise<void>;
  readonly close: () => void;
}

export interface WorkloadsOptions extends Omit<WorkloadWriterOptions, "onIdle"> {
  readonly functions: Pick<Functions, "revision">;
  readonly owns: (environment: string) => boolean;
  readonly isWithdrawn: (revision: Revision) => boolean;
  readonly now?: () => number;
}

/** The first request of a cold start waits for the processor, and pods of one burst are handed over together. */
const HAND_OVER_DELAY_MS = 50;
/** A pod that ends by itself so soon is not replaced before somebody calls: its code would end the next one too. */
const SHORT_LIFE_MS = 10_000;
/** A pod may be seen to go before the ReplicaSet is seen to be smaller: they are two watches. */
const REFILL_DELAY_MS = 200;
/** A ReplicaSet that was deleted together with its function is not made again. */
const REMAKE_DELAY_MS = 1_000;

interface State {
  readonly options: WorkloadsOptions;
  readonly now: () => number;
  readonly later: (delayMs: number, run: () => void) => void;
  readonly writer: WorkloadWriter;
  /** By revision key. */
  readonly workloads: Map<string, Workload>;
  readonly byPod: WeakMap<Pod, Workload>;
  opened: boolean;
}

export function createWorkloads(options: WorkloadsOptions): Workloads {
  const timers = createTimers();
  const state: State = {
    options,
    now: options.now ?? Date.now,
    later: timers.later,
    writer: createWorkloadWriter({ ...options, onIdle: (workload) => forgetIfUnused(state, workload) }),
    workloads: new Map(),
    byPod: new WeakMap(),
    opened: false,
  };
  return {
    handles,
    joined: (revision, pod) => joined(state, revision, pod),
    seenReady: (pod) => {
      const workload = state.byPod.get(pod);
      if (workload?.toHandOver.has(pod)) state.writer.touch(workload, HAND_OVER_DELAY_MS);
    },
    gone: (pod, failed) => gone(state, pod, failed),
    scaledDown: (pod) => scaledDown(state, pod),
    ready: (pod) => ready(state, pod),
    spare: (revisionKey) => spare(state.workloads.get(revisionKey)),
    changed: (revision) => changed(state, revision),
    environmentDeleted: (key) => {
      for (const workload of state.workloads.values()) {
        if (environmentKey(workload.revision) !== key) continue;
        workload.open = false;
        state.writer.touch(workload);
      }
    },
    observe: (object) => observe(state, object),
    vanish: (object) => vanish(state, object),
    beforeDelete: (pod) => {
      const workload = state.byPod.get(pod);
      return workload && state.writer.written(workload);
    },
    open: () => {
      state.opened = true;
      for (const workload of state.workloads.values()) fill(state, workload);
    },
    settled: async () => {
      const busy = [...state.workloads.values()].filter((workload) => workload.busy);
      await Promise.all(busy.map(({ waiting }) => new Promise<void>((resolve) => waiting.push(resolve))));
    },
    close: () => {
      timers.close();
      state.writer.close();
    },
  };
}

const handles = ({ serving }: Revision): boolean =>
  serving.executorType === "auto" && !serving.limits.onceOnly;

function workloadOf({ options, workloads }: State, revision: Revision): Workload {
  const before = workloads.get(revision.key);
  if (before?.revision === revision) return before;
  const workload = newWorkload(revision, !options.isWithdrawn(revision), before);
  workloads.set(revision.key, workload);
  return workload;
}

/** The workload that made the pod. */
function makerOf({ workloads }: State, pod: Pod): Workload | undefined {
  const workload = workloads.get(pod.madeFor);
  return workload && pod.maker === replicaSetMaker(workload.name) ? workload : undefined;
}

function forgetIfUnused({ workloads }: State, workload: Workload): void {
  const { revision, open, exists, spares } = workload;
  const unused = !open && !exists && spares.size === 0 && revision.pods().size === 0;
  if (unused && workloads.get(revision.key) === workload) workloads.delete(revision.key);
}

function joined(state: State, revision: Revision, pod: Pod): void {
  const workload = workloadOf(state, revision);
  state.byPod.set(pod, workload);
  workload.joinedAtMs.set(pod, state.now());
  workload.toHandOver.add(pod);
  workload.replicas = Math.max(workload.replicas, revision.pods().size);
  state.writer.touch(workload, HAND_OVER_DELAY_MS);
}

function gone(state: State, pod: Pod, failed: boolean): void {
  const workload = state.byPod.get(pod) ?? makerOf(state, pod);
  if (!workload) return;
  const joinedAtMs = workload.joinedAtMs.get(pod);
  workload.joinedAtMs.delete(pod);
  workload.spares.delete(pod);
  workload.toHandOver.delete(pod);
  if (!workload.exists && !workload.busy) workload.replicas = workload.revision.pods().size;
  else if (failed && joinedAtMs !== undefined && state.now() - joinedAtMs < SHORT_LIFE_MS)
    lower(state, workload);
  if (workload.spares.size > 0) state.later(REFILL_DELAY_MS, () => fill(state, workload));
  forgetIfUnused(state, workload);
}

function scaledDown(state: State, pod: Pod): void {
  if (pod.phase === "leaving") return;
  const workload = state.byPod.get(pod) ?? makerOf(state, pod);
  if (!workload || workload.retiring.has(pod)) return;
  state.byPod.set(pod, workload);
  workload.retiring.add(pod);
  lower(state, workload);
}

function lower(state: State, workload: Workload): void {
  workload.replicas = Math.max(0, workload.replicas - 1);
  state.writer.touch(workload);
}

function ready(state: State, pod: Pod): boolean {
  const workload = makerOf(state, pod);
  const environment = workload && state.options.environment(workload.revision);
  if (!workload?.open || !environment) return false;
  if (pod.template !== podTemplate(environment).hash) {
    state.writer.touch(workload);
    return false;
  }
  state.byPod.set(pod, workload);
  workload.spares.add(pod);
  fill(state, workload);
  return true;
}

function spare(workload: Workload | undefined): Pod | undefined {
  for (const pod of workload?.spares ?? []) {
    workload?.spares.delete(pod);
    pod.phase = "claimed";
    return pod;
  }
  return undefined;
}

/** Has ready pods of the ReplicaSet specialised as far as they are wanted. */
function fill(state: State, workload: Workload): void {
  const { revision, spares } = workload;
  if (spares.size === 0 || !workload.open || !state.opened) return;
  const pods = revision.pods().size;
  if (revision.snapshot().failure !== null) {
    // More pods would not help code that does not load; the next call tries it again.
    workload.replicas = pods;
    state.writer.touch(workload);
    return;
  }
  const wanted = Math.min(workload.replicas, pods + spares.size);
  if (wanted > pods) revision.warm(wanted);
}

function changed(state: State, revision: Revision): void {
  if (!handles(revision)) return;
  const open = !state.options.isWithdrawn(revision);
  const workload = state.workloads.get(revision.key);
  if (!workload || workload.open === open) return;
  workload.open = open;
  if (open) for (const pod of revision.pods()) workload.toHandOver.add(pod);
  workload.replicas = revision.pods().size;
  state.writer.touch(workload);
}

function revisionOf({ options }: State, { metadata }: KubeReplicaSet): Revision | undefined {
  const { labels = {} } = metadata;
  return options.functions.revision(labels[LABEL_FUNCTION_UID] ?? "", labels[LABEL_REVISION] ?? "");
}

function observe(state: State, object: KubeReplicaSet): void {
  const { namespace, labels = {}, deletionTimestamp, generation = 0 } = object.metadata;
  // A Deployment's ReplicaSets have its labels and are its own.
  if (labels[LABEL_EXECUTOR_TYPE] !== undefined) return;
  if (!state.options.owns(`${namespace}/${labels[LABEL_ENVIRONMENT] ?? ""}`)) return;
  const revision = revisionOf(state, object);
  if (!revision || !handles(revision)) return state.writer.orphanStale(object);
  const workload = workloadOf(state, revision);
  if (deletionTimestamp !== undefined) return;
  if (!workload.exists) {
    workload.exists = true;
    if (!workload.open) state.writer.touch(workload);
  }
  if (generation <= workload.generation) return;
  workload.generation = generation;
  if (object.replicas === workload.written) return;
  // Somebody else scales it, or this process has just started.
  workload.written = object.replicas;
  workload.replicas = object.replicas + unseen(workload);
  revision.warm(0);
  fill(state, workload);
}

function vanish(state: State, object: KubeReplicaSet): void {
  const revision = revisionOf(state, object);
  const workload = revision && state.workloads.get(revision.key);
  if (!workload || workload.name !== object.metadata.name) return;
  workload.exists = false;
  workload.written = undefined;
  workload.replicas = workload.revision.pods().size;
  state.later(REMAKE_DELAY_MS, () => {
    if (!workload.open || workload.exists) return forgetIfUnused(state, workload);
    workload.replicas = workload.revision.pods().size;
    for (const pod of workload.revision.pods()) workload.toHandOver.add(pod);
    state.writer.touch(workload);
  });
}
