/**
 * The work on one pod.
 * 1. Steps run one after the other; whatever happens meanwhile asks for one more.
 * 2. The stored object of a deleted pod is removed only when no process of it is left.
 * 3. A status is written only when it differs from the one written last, and never while a start is about to change it.
 */
import { rm } from "node:fs/promises";
import { ApiError } from "../api/api-error.ts";
import { note, noteExit, startContainer, stopAllContainers, watchContainer } from "./container-life.ts";
import type { KubeletContext } from "./kubelet-context.ts";
import { isTerminal, type Pod, type PodStatus } from "./pod.ts";
import { planPod, type PodPlan } from "./pod-plan.ts";
import { adoptPod, allContainers, type ManagedContainer, type PodState } from "./pod-state.ts";
import { reportStatus } from "./pod-status.ts";
import type { ExitRecord, ProcessRecord } from "./shim/messages.ts";
import { prepareVolumes, volumeSources } from "./volumes.ts";
import { join } from "node:path";

/** How long the status waits for starts under way, so that one write says it all. */
const START_SETTLE_MS = 150;
const WRITE_RETRY_MS = 500;
const MAX_TIMER_MS = 2 ** 31 - 1;

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

type Stage = "active" | "ending" | "gone";

function isApiCode(error: unknown, code: number): boolean {
  return error instanceof ApiError && error.code === code;
}

function killed(): ExitRecord {
  return { exitCode: 137, signal: 9, oomKilled: false, finishedAtMs: Date.now() };
}

/** Begins or goes on with the work on a pod. `onGone` is called once, when nothing of the pod is left. */
export function startPodWorker(
  pod: Pod,
  found: readonly ProcessRecord[],
  context: KubeletContext,
  onGone: () => void,
): PodWorker {
  let stage: Stage = "active";
  let abandoned = false;
  let dirty = false;
  let stepping = false;
  let timer: NodeJS.Timeout | undefined;
  let written = "";
  let bound = pod.spec.nodeName === context.nodeName;
  let objectGone = false;

  const step = (): void => {
    dirty = true;
    if (stepping || abandoned) return;
    stepping = true;
    void (async () => {
      while (dirty && !abandoned) {
        dirty = false;
        await oneStep().catch((error: unknown) => {
          context.log(
            `pod "${pod.metadata.namespace}/${pod.metadata.name}": ${error instanceof Error ? error.message : String(error)}`,
          );
          wakeIn(WRITE_RETRY_MS);
        });
      }
      stepping = false;
    })();
  };
  const wakeIn = (ms: number): void => {
    clearTimeout(timer);
    timer = setTimeout(step, Math.min(Math.max(ms, 0), MAX_TIMER_MS));
  };

  const { state, lost } = adoptPod(pod, found, context, step);
  if (state.podIP !== undefined && context.addresses) context.addresses.claim(state.podIP);

  const report = (plan: PodPlan): PodStatus =>
    reportStatus({
      ...state,
      plan,
      podIP: state.podIP ?? state.pod.status?.podIP,
      hostIP: context.hostIP,
      nowMs: Date.now(),
    });

  const writeStatus = async (plan: PodPlan): Promise<void> => {
    const status = report(plan);
    const text = JSON.stringify(status);
    if (text === written || objectGone) return;
    const { namespace, name, annotations } = state.pod.metadata;
    const writes: Promise<unknown>[] = [];
    const annotate =
      state.hostPort !== undefined && annotations?.["localkube.dev/host-port"] !== String(state.hostPort);
    if (!bound || annotate) {
      const patch = {
        ...(bound ? {} : { spec: { nodeName: context.nodeName } }),
        ...(annotate
          ? { metadata: { annotations: { "localkube.dev/host-port": String(state.hostPort) } } }
          : {}),
      };
      writes.push(context.store.patch("pods", namespace, name, patch));
    }
    writes.push(context.store.patch("pods", namespace, name, { status }, { subresource: "status" }));
    try {
      await Promise.all(writes);
    } catch (error) {
      if (!isApiCode(error, 404)) throw error;
      return;
    }
    if (!bound) {
      bound = true;
      const where = `${namespace ?? ""}/${name} to ${context.nodeName}`;
      context.events.record(state.pod, {
        type: "Normal",
        reason: "Scheduled",
        message: `Successfully assigned ${where}`,
      });
    }
    written = text;
  };

  const releaseAddress = (): void => {
    if (state.podIP !== undefined) context.addresses?.release(state.podIP);
    state.podIP = undefined;
    state.hostPort = undefined;
  };

  const forgetEnded = async (): Promise<void> => {
    for (const { phase, processId } of allContainers(state)) {
      if (phase.is !== "ended" || processId === undefined) continue;
      await (await context.runtime()).forget(processId).catch(() => {});
    }
  };

  let finishing: Promise<void> | undefined;
  const finish = (): Promise<void> => {
    finishing ??= cleanUp();
    return finishing;
  };
  const cleanUp = async (): Promise<void> => {
    releaseAddress();
    await forgetEnded().catch(() => {});
    await rm(context.folders(state.pod).podDir, { recursive: true, force: true, maxRetries: 3 });
    stage = "gone";
    onGone();
  };

  const removeObject = async (): Promise<void> => {
    const { namespace, name, uid } = state.pod.metadata;
    if ((state.pod.metadata.finalizers ?? []).length > 0) await writeStatus(overPlan(state));
    const options = { gracePeriodSeconds: 0, preconditions: { uid } };
    await context.store.delete("pods", namespace, name, options).catch((error: unknown) => {
      if (!isApiCode(error, 404) && !isApiCode(error, 409)) throw error;
    });
  };

  let ending: Promise<void> | undefined;
  const end = (): Promise<void> => {
    ending ??= (async () => {
      stage = "ending";
      clearTimeout(timer);
      await stopAllContainers(state, context, "");
      for (;;) {
        try {
          if (!objectGone) await removeObject();
          break;
        } catch (error) {
          if (abandoned) return;
          context.log(
            `pod "${state.pod.metadata.name}" is not removed yet: ${error instanceof Error ? error.message : String(error)}`,
          );
          await new Promise((resolve) => setTimeout(resolve, WRITE_RETRY_MS));
        }
      }
      if (objectGone) await finish();
      else releaseAddress();
    })();
    return ending;
  };

  const failWhole = async (reason: string, message: string): Promise<void> => {
    state.failure = { reason, message };
    await stopAllContainers(state, context, reason);
  };

  const checkDeadline = async (): Promise<void> => {
    const seconds = state.pod.spec.activeDeadlineSeconds;
    if (seconds === undefined || state.failure) return;
    const leftMs = state.startTimeMs + seconds * 1000 - Date.now();
    if (leftMs > 0) wakeIn(leftMs);
    else await failWhole("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
  };

  const oneStep = async (): Promise<void> => {
    if (stage !== "active" || (isTerminal(state.pod) && written === "")) return;
    await checkDeadline();
    const plan = state.failure
      ? overPlan(state)
      : planPod(state.pod.spec.restartPolicy ?? "Always", state.init, state.main, Date.now());
    for (const container of allContainers(state)) {
      if (plan.start.includes(container.spec.name))
        container.starting = startContainer(state, container, context);
    }
    if (plan.wakeAtMs !== undefined) wakeIn(plan.wakeAtMs - Date.now());
    if (plan.finished) {
      await stopAllContainers(state, context, "");
      await writeStatus(plan);
      releaseAddress();
      await forgetEnded();
      return;
    }
    const starts = allContainers(state).filter(({ phase }) => phase.is === "starting");
    if (starts.length > 0) {
      const settled = Promise.all(starts.map(({ starting }) => starting));
      await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, START_SETTLE_MS))]);
      if (dirty) return;
    }
    await writeStatus(plan);
    await forgetEnded();
  };

  const startEnding = (next: Pod): void => {
    const { deletionTimestamp, deletionGracePeriodSeconds = 0 } = next.metadata;
    if (deletionTimestamp === undefined) return;
    const killAtMs = Math.min(
      Date.now() + deletionGracePeriodSeconds * 1000,
      Date.parse(deletionTimestamp) + 1000,
    );
    state.killAtMs = Math.min(state.killAtMs ?? Number.POSITIVE_INFINITY, killAtMs);
    void end();
  };

  const begin = (): void => {
    for (const container of lost) {
      noteExit(state, container, killed(), context, { reason: "NodeRestart", message: LOST_MESSAGE });
    }
    for (const container of allContainers(state)) {
      if (container.phase.is !== "running") continue;
      const exit = found.find(({ id }) => id === container.processId)?.exit;
      if (exit) noteExit(state, container, exit, context);
      else watchContainer(state, container, context);
    }
    if (pod.metadata.deletionTimestamp !== undefined) startEnding(pod);
    else step();
  };
  begin();

  return {
    update(next) {
      const shown = state.podIP !== undefined && showsMetadata(next) && !sameMetadata(state.pod, next);
      state.pod = next;
      if (shown) refreshVolumes(state, context);
      if (next.metadata.deletionTimestamp !== undefined) startEnding(next);
      else if (hasOpenGates(next)) step();
    },
    removed() {
      objectGone = true;
      state.killAtMs = 0;
      void end().then(finish);
    },
    exited(id, exit) {
      const container = allContainers(state).find(({ processId }) => processId === id);
      if (!container) return;
      void container.starting.then(() => {
        if (container.processId !== id || container.phase.is !== "running") return;
        noteExit(state, container, exit, context);
        step();
      });
    },
    lostProcesses() {
      for (const container of allContainers(state)) endLost(state, container, context);
      step();
    },
    sourceChanged(source) {
      if (stage !== "active") return;
      if (volumeSources(state.pod).has(source) && state.podIP !== undefined) refreshVolumes(state, context);
      for (const { phase } of allContainers(state)) {
        if (phase.is !== "waiting" || phase.reason === "ErrImagePull" || phase.reason === "ImagePullBackOff")
          continue;
        phase.untilMs = 0;
        step();
      }
    },
    abandon() {
      abandoned = true;
      clearTimeout(timer);
      for (const container of allContainers(state)) container.stopProbes();
    },
  };
}

const LOST_MESSAGE = "the process ended when the local platform was stopped";

function overPlan(state: PodState): PodPlan {
  const failed = state.main.some(({ phase }) => phase.is !== "ended" || phase.exitCode !== 0);
  return { start: [], initialized: true, finished: failed ? "Failed" : "Succeeded" };
}

function hasOpenGates(pod: Pod): boolean {
  return (pod.spec.readinessGates ?? []).length > 0;
}

function showsMetadata(pod: Pod): boolean {
  return (pod.spec.volumes ?? []).some(
    ({ downwardAPI, projected }) =>
      downwardAPI !== undefined || projected?.sources?.some((source) => source.downwardAPI),
  );
}

function sameMetadata(left: Pod, right: Pod): boolean {
  const pick = ({ metadata: { labels, annotations } }: Pod): string => JSON.stringify([labels, annotations]);
  return pick(left) === pick(right);
}

function endLost(state: PodState, container: ManagedContainer, context: KubeletContext): void {
  if (container.phase.is !== "running") return;
  noteExit(state, container, killed(), context, {
    reason: "Error",
    message: "the process that runs the pods ended",
  });
}

/** Brings the files of Secrets and ConfigMaps up to date; what is missing now keeps its last content. */
function refreshVolumes(state: PodState, context: KubeletContext): void {
  const place = { podIP: state.podIP ?? "", hostIP: context.hostIP, nodeName: context.nodeName };
  const volumesDir = join(context.folders(state.pod).podDir, "volumes");
  try {
    prepareVolumes({ pod: state.pod, place, sources: context.sources, volumesDir });
  } catch (error) {
    const first = state.main[0];
    const message = error instanceof Error ? error.message : String(error);
    if (first) note(state, first, context, "Warning", "FailedMount", message);
  }
}
