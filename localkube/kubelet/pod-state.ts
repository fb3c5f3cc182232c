import type { PodPlace } from "./field-path.ts";
import type { KubeletContext } from "./kubelet-context.ts";
import type { ContainerSpec, ContainerStatus, Pod, TerminatedState } from "./pod.ts";
import { kubeTime } from "./pod.ts";
import type { ReportedContainer } from "./pod-status.ts";
import { makeRestartBackoff, type RestartBackoff } from "./restart-backoff.ts";
import type { ExitRecord, ProcessRecord, RunSpec } from "./shim/messages.ts";

/** A container with what is needed to run it. */
export interface ManagedContainer extends ReportedContainer {
  isInit: boolean;
  /** Whether attempt 0 was ever made. */
  everStarted: boolean;
  restarts: RestartBackoff;
  /** Waits between tries to start that do not get as far as a process. */
  refusals: RestartBackoff;
  stopProbes: () => void;
  /** How the present attempt was started; unknown for one that was found running. */
  runSpec?: RunSpec | undefined;
  /** The start that is under way, if any. */
  starting: Promise<void>;
  /** Called once when the present attempt ends. */
  onEnded: (() => void)[];
}

export interface PodState {
  pod: Pod;
  init: ManagedContainer[];
  main: ManagedContainer[];
  podIP: string | undefined;
  hostPort: number | undefined;
  startTimeMs: number;
  failure: { reason: string; message: string } | undefined;
  /** When the containers of a pod that is ending are killed; undefined while it is not ending. */
  killAtMs: number | undefined;
  /** The kubelet has let go of the pod: nothing more is done to it. */
  abandoned: boolean;
  /** Asks the worker to look at the pod again. */
  changed: () => void;
}

export function placeOf(state: PodState, context: KubeletContext): PodPlace {
  return { podIP: state.podIP ?? "", hostIP: context.hostIP, nodeName: context.nodeName };
}

export function allContainers(state: PodState): ManagedContainer[] {
  return [...state.init, ...state.main];
}

function newContainer(spec: ContainerSpec, isInit: boolean, context: KubeletContext): ManagedContainer {
  return {
    spec,
    isInit,
    phase: { is: "new" },
    started: false,
    ready: false,
    attempt: 0,
    everStarted: false,
    restarts: makeRestartBackoff(context.backoff),
    refusals: makeRestartBackoff({ ...context.backoff, resetAfterMs: Number.POSITIVE_INFINITY }),
    stopProbes: () => {},
    starting: Promise.resolve(),
    onEnded: [],
  };
}

/** How an ended attempt reads in a container status. */
export function terminatedState(
  container: Pick<ManagedContainer, "processId">,
  startedAtMs: number,
  exit: ExitRecord,
  reason?: string,
  message?: string,
): TerminatedState {
  const plain = exit.exitCode === 0 ? "Completed" : "Error";
  return {
    exitCode: exit.exitCode,
    ...(exit.signal > 0 ? { signal: exit.signal } : {}),
    reason: reason ?? (exit.oomKilled ? "OOMKilled" : plain),
    ...(message !== undefined ? { message } : {}),
    startedAt: kubeTime(startedAtMs),
    finishedAt: kubeTime(exit.finishedAtMs),
    ...(container.processId !== undefined ? { containerID: `localkube://${container.processId}` } : {}),
  };
}

function attemptOf(record: ProcessRecord): number {
  return Number(record.id.slice(record.id.lastIndexOf("/") + 1));
}

function takeStatus(container: ManagedContainer, status: ContainerStatus, nowMs: number): void {
  const { state, lastState, restartCount } = status;
  container.attempt = restartCount;
  container.everStarted = restartCount > 0 || state.running !== undefined || state.terminated !== undefined;
  container.last = lastState.terminated;
  container.ready = status.ready;
  container.started = status.started;
  if (status.containerID !== undefined) container.processId = status.containerID.replace("localkube://", "");
  for (let count = 0; count < restartCount; count += 1) container.restarts.next(0);
  if (state.terminated) {
    container.ended = state.terminated;
    container.phase = { is: "ended", exitCode: state.terminated.exitCode, retryAtMs: nowMs };
  } else if (state.waiting && lastState.terminated) {
    container.everStarted = true;
    container.ended = lastState.terminated;
    container.waitMs = container.restarts.next(0);
    container.phase = {
      is: "ended",
      exitCode: lastState.terminated.exitCode,
      retryAtMs: nowMs + container.waitMs,
    };
  } else if (state.running) {
    container.phase = { is: "running", startedAtMs: Date.parse(state.running.startedAt) };
  }
}

/**
 * The state of a pod when the kubelet first sees it: from its stored status and the processes found for it.
 * `lost` names the containers whose status says running and that have no process any more; the caller decides their end.
 */
export function adoptPod(
  pod: Pod,
  found: readonly ProcessRecord[],
  context: KubeletContext,
  changed: () => void,
): { state: PodState; lost: ManagedContainer[] } {
  const nowMs = Date.now();
  const lost: ManagedContainer[] = [];
  const adopt = (spec: ContainerSpec, isInit: boolean): ManagedContainer => {
    const container = newContainer(spec, isInit, context);
    const statuses = isInit ? pod.status?.initContainerStatuses : pod.status?.containerStatuses;
    const status = statuses?.find(({ name }) => name === spec.name);
    if (status) takeStatus(container, status, nowMs);
    const prefix = `${pod.metadata.uid}/${spec.name}/`;
    const newest = found
      .filter(({ id }) => id.startsWith(prefix))
      .sort((left, right) => attemptOf(right) - attemptOf(left))[0];
    const known =
      container.everStarted &&
      container.phase.is === "ended" &&
      container.attempt >= (newest ? attemptOf(newest) : 0);
    if (newest && !known) {
      const sameAttempt = container.everStarted && container.attempt === attemptOf(newest);
      if (!sameAttempt) {
        container.last = container.ended ?? container.last;
        container.started = spec.startupProbe === undefined;
        container.ready = false;
      }
      container.ended = undefined;
      container.everStarted = true;
      container.attempt = attemptOf(newest);
      container.processId = newest.id;
      container.phase = { is: "running", startedAtMs: newest.startedAtMs };
    } else if (container.phase.is === "running") {
      lost.push(container);
    }
    return container;
  };
  const labels = found.find((record) => !record.exit)?.labels;
  const state: PodState = {
    pod,
    init: (pod.spec.initContainers ?? []).map((spec) => adopt(spec, true)),
    main: pod.spec.containers.map((spec) => adopt(spec, false)),
    podIP: labels?.["podIP"],
    hostPort: labels?.["hostPort"] === undefined ? undefined : Number(labels["hostPort"]),
    startTimeMs: pod.status?.startTime === undefined ? nowMs : Date.parse(pod.status.startTime),
    failure: undefined,
    killAtMs: undefined,
    abandoned: false,
    changed,
  };
  return { state, lost };
}
