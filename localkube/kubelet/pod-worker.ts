/**
 * The work on one pod.
 * 1. Steps run one after the other; whatever happens meanwhile asks for one more.
 * 2. The stored object of a deleted pod is removed only when no process of it is left.
 * 3. A status is not written while a start is about to change it.
 */
import { rm } from "node:fs/promises";
import {
  noteExit,
  startContainer,
  stopAllContainers,
  stopContainer,
  watchContainer,
} from "./container-life.ts";
import { errorText, isRefusal } from "./error-text.ts";
import type { KubeletContext } from "./kubelet-context.ts";
import { isTerminal, type Pod } from "./pod.ts";
import { type PodPlan, planPod } from "./pod-plan.ts";
import { adoptPod, allContainers, type ManagedContainer, type PodState } from "./pod-state.ts";
import { makeStatusWriter, type StatusWriter } from "./pod-status-writer.ts";
import { refreshVolumes, showsMetadata, unblock } from "./pod-volumes.ts";
import type { ExitRecord, ProcessRecord } from "./shim/messages.ts";
import { makeStepLoop, type StepLoop } from "./step-loop.ts";

/** How long the status waits for starts under way, so that one write says it all. */
const START_SETTLE_MS = 150;
const REMOVE_RETRY_MS = 500;
const LOST_MESSAGE = "the process ended when the local platform was stopped";

export interface PodWorker {
  /** The stored object has changed. */
  update(pod: Pod): void;
  /** The stored object is gone: whatever still runs is killed at once. */
  removed(): void;
  /** A process of this pod has ended. */
  exited(id: string, exit: ExitRecord): void;
  /** All processes died because the shim did. */
  lostProcesses(): void;
  /** A Secret or ConfigMap (`secret/<name>`, `configmap/<name>`) of the namespace has changed. */
  sourceChanged(source: string): void;
  /** The kubelet stops: no further step, the processes go on. */
  abandon(): void;
}

interface Work {
  state: PodState;
  context: KubeletContext;
  loop: StepLoop;
  status: StatusWriter;
  objectGone: boolean;
  ending: Promise<void> | undefined;
}

function killed(): ExitRecord {
  return { exitCode: 137, signal: 9, oomKilled: false, finishedAtMs: Date.now() };
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The plan of a pod that was ended as a whole. */
function overPlan(state: PodState): PodPlan {
  const failed = state.main.some(({ phase }) => phase.is !== "ended" || phase.exitCode !== 0);
  return { start: [], initialized: true, finished: failed ? "Failed" : "Succeeded" };
}

function releaseAddress({ state, context }: Work): void {
  if (state.podIP !== undefined) context.addresses?.release(state.podIP);
  state.podIP = undefined;
  state.hostPort = undefined;
}

async function forgetEnded({ state, context }: Work): Promise<void> {
  for (const { phase, processId } of allContainers(state)) {
    if (phase.is !== "ended" || processId === undefined) continue;
    const runtime = await context.runtime();
    await runtime.forget(processId).catch(() => {});
  }
}

async function checkActiveDeadline({ state, context, loop }: Work): Promise<void> {
  const seconds = state.pod.spec.activeDeadlineSeconds;
  if (seconds === undefined || state.failure) return;
  const leftMs = state.startTimeMs + seconds * 1000 - Date.now();
  if (leftMs > 0) {
    loop.requestIn(leftMs);
    return;
  }
  const message = "Pod was active on the node longer than the specified deadline";
  state.failure = { reason: "DeadlineExceeded", message };
  await stopAllContainers(state, context, state.failure.reason);
}

async function step(work: Work): Promise<void> {
  const { state, context, status, loop } = work;
  if (work.ending || (isTerminal(state.pod) && !status.hasWritten())) return;
  await checkActiveDeadline(work);
  const policy = state.pod.spec.restartPolicy ?? "Always";
  const plan = state.failure ? overPlan(state) : planPod(policy, state.init, state.main, Date.now());
  for (const container of allContainers(state)) {
    if (plan.start.includes(container.spec.name))
      container.starting = startContainer(state, container, context);
  }
  if (plan.wakeAtMs !== undefined) loop.requestIn(plan.wakeAtMs - Date.now());
  if (plan.finished) {
    await stopAllContainers(state, context, "");
    await status.write(plan);
    releaseAddress(work);
    await forgetEnded(work);
    return;
  }
  const starts = allContainers(state).filter(({ phase }) => phase.is === "starting");
  if (starts.length > 0) {
    await Promise.race([Promise.all(starts.map(({ starting }) => starting)), delay(START_SETTLE_MS)]);
    if (loop.requested()) return;
  }
  await status.write(plan);
  await forgetEnded(work);
}

async function removeObject({ state, context, status }: Work): Promise<void> {
  const { namespace, name, uid, finalizers = [] } = state.pod.metadata;
  if (finalizers.length > 0) await status.write(overPlan(state));
  const options = { gracePeriodSeconds: 0, preconditions: { uid } };
  await context.store.delete("pods", namespace, name, options).catch((error: unknown) => {
    if (!isRefusal(error, 404, 409)) throw error;
  });
}

/** Ends the pod's processes, then its object. Goes on trying until the object is gone or only its finalizers hold it. */
async function endPod(work: Work): Promise<void> {
  const { state, context, loop } = work;
  loop.stop();
  await stopAllContainers(state, context, "");
  while (!work.objectGone && !state.abandoned) {
    try {
      await removeObject(work);
      break;
    } catch (error) {
      context.log(`pod "${state.pod.metadata.name}" is not removed yet: ${errorText(error)}`);
      await delay(REMOVE_RETRY_MS);
    }
  }
  await forgetEnded(work).catch(() => {});
  releaseAddress(work);
}

function startEnding(work: Work, pod: Pod): void {
  const { deletionTimestamp, deletionGracePeriodSeconds = 0 } = pod.metadata;
  if (deletionTimestamp === undefined) return;
  const killAtMs = Math.min(
    Date.now() + deletionGracePeriodSeconds * 1000,
    Date.parse(deletionTimestamp) + 1000,
  );
  work.state.killAtMs = Math.min(work.state.killAtMs ?? Number.POSITIVE_INFINITY, killAtMs);
  work.ending ??= endPod(work);
}

/** Takes up what was found: processes that run are watched on, those that ended meanwhile are noted. */
/** Takes over the containers' new definitions: one with another image is stopped, and starts with it. */
function takeSpec({ state, context, loop }: Work, next: Pod): void {
  const specs = [...(next.spec.initContainers ?? []), ...next.spec.containers];
  for (const container of allContainers(state)) {
    const spec = specs.find(({ name }) => name === container.spec.name) ?? container.spec;
    const isOther = spec.image !== container.spec.image;
    container.spec = spec;
    if (!isOther) continue;
    if (container.phase.is === "waiting") {
      container.phase.untilMs = 0;
      loop.request();
    }
    void stopContainer(state, container, context, "definition changed, will be restarted");
  }
}

function takeUp(work: Work, found: readonly ProcessRecord[], lost: readonly ManagedContainer[]): void {
  const { state, context } = work;
  for (const container of lost) {
    noteExit(state, container, killed(), context, { reason: "NodeRestart", message: LOST_MESSAGE });
    // Not the container's fault: it starts again at once.
    container.waitMs = 0;
    if (container.phase.is === "ended") container.phase.retryAtMs = 0;
  }
  for (const container of allContainers(state)) {
    if (container.phase.is !== "running") continue;
    const exit = found.find(({ id }) => id === container.processId)?.exit;
    if (exit) noteExit(state, container, exit, context);
    else watchContainer(state, container, context);
  }
  if (state.pod.metadata.deletionTimestamp !== undefined) startEnding(work, state.pod);
  else work.loop.request();
}

/** Begins or goes on with the work on a pod. `onGone` is called once, when nothing of the pod is left. */
export function startPodWorker(
  pod: Pod,
  found: readonly ProcessRecord[],
  context: KubeletContext,
  onGone: () => void,
): PodWorker {
  const where = `${pod.metadata.namespace ?? "default"}/${pod.metadata.name}`;
  const loop = makeStepLoop(
    () => step(work),
    (error) => context.log(`pod "${where}": ${errorText(error)}`),
  );
  const { state, lost } = adoptPod(pod, found, context, loop.request);
  const status = makeStatusWriter(state, context);
  const work: Work = { state, context, loop, status, objectGone: false, ending: undefined };
  if (state.podIP !== undefined) context.addresses?.claim(state.podIP);
  if (pod.spec.nodeName === undefined) {
    const message = `Successfully assigned ${where} to ${context.nodeName}`;
    context.events.record(pod, { type: "Normal", reason: "Scheduled", message });
  }
  takeUp(work, found, lost);

  return {
    update(next) {
      const metadataChanged = showsMetadata(next, state.pod);
      state.pod = next;
      if (metadataChanged) refreshVolumes(state, context);
      takeSpec(work, next);
      if (next.metadata.deletionTimestamp !== undefined) startEnding(work, next);
      else if (next.spec.readinessGates) loop.request();
    },
    removed() {
      if (work.objectGone) return;
      work.objectGone = true;
      state.killAtMs = 0;
      work.ending ??= endPod(work);
      void work.ending
        .then(() => rm(context.folders(pod).podDir, { recursive: true, force: true, maxRetries: 3 }))
        .catch((error: unknown) =>
          context.log(`folder of pod "${where}" is not removed: ${errorText(error)}`),
        )
        .finally(onGone);
    },
    exited(id, exit) {
      const container = allContainers(state).find(({ processId }) => processId === id);
      if (!container) return;
      // The end may be told before the answer to the start has been dealt with.
      void container.starting.finally(() => {
        if (container.processId !== id || container.phase.is !== "running") return;
        noteExit(state, container, exit, context);
        loop.request();
      });
    },
    lostProcesses() {
      for (const container of allContainers(state)) {
        if (container.phase.is !== "running") continue;
        noteExit(state, container, killed(), context, {
          reason: "Error",
          message: "the process that runs the pods ended",
        });
      }
      loop.request();
    },
    sourceChanged(source) {
      if (work.ending) return;
      if (unblock(state, context, source)) loop.request();
    },
    abandon() {
      state.abandoned = true;
      loop.stop();
      for (const container of allContainers(state)) container.stopProbes();
    },
  };
}
