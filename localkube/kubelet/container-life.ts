/**
 * One attempt of a container, from start to end.
 * 1. A container is in phase "starting" from the moment its start is decided until its process runs or was refused.
 * 2. Its end is noted once, by `noteExit`, which stops its probes.
 */
import { join } from "node:path";
import { findFreePort } from "./addresses.ts";
import { askContainer, type ContainerDoor } from "./ask-container.ts";
import type { KubeletContext } from "./kubelet-context.ts";
import type { Handler, ProbeSpec } from "./pod.ts";
import { willRestart } from "./pod-plan.ts";
import {
  allContainers,
  type ManagedContainer,
  type PodState,
  placeOf,
  terminatedState,
} from "./pod-state.ts";
import { startProbe } from "./probe.ts";
import { readLogTail } from "./log-tail.ts";
import { prepareRun, StartProblem } from "./run-spec.ts";
import type { ExitRecord, RunSpec } from "./shim/messages.ts";

/** Exit code of a container whose process could not be made, as container runtimes have it. */
const START_ERROR_EXIT = 128;
const DEFAULT_GRACE_SECONDS = 30;
/** What a container gets after a preStop hook has used up the grace period. */
const AFTER_HOOK_MS = 2000;
const KILL_CHECK_MS = 200;

function fieldPathOf(container: ManagedContainer): string {
  return `spec.${container.isInit ? "initContainers" : "containers"}{${container.spec.name}}`;
}

export function note(
  state: PodState,
  container: ManagedContainer,
  context: KubeletContext,
  type: "Normal" | "Warning",
  reason: string,
  message: string,
): void {
  context.events.record(state.pod, { type, reason, message, fieldPath: fieldPathOf(container) });
}

async function ensureAddress(state: PodState, context: KubeletContext): Promise<void> {
  if (state.podIP !== undefined) return;
  const { addresses } = context;
  try {
    if (addresses) {
      const ports = state.pod.spec.containers.flatMap(({ ports = [] }) => ports);
      const tcp = ports.filter(({ protocol = "TCP" }) => protocol === "TCP");
      state.podIP = await addresses.allocate(tcp.map(({ containerPort }) => containerPort));
    } else {
      state.hostPort = await findFreePort();
      state.podIP = "127.0.0.1";
    }
  } catch (error) {
    throw new StartProblem("ContainerCreating", error instanceof Error ? error.message : String(error));
  }
}

function makeRunSpec(
  state: PodState,
  container: ManagedContainer,
  attempt: number,
  context: KubeletContext,
): RunSpec {
  return prepareRun({
    pod: state.pod,
    container: container.spec,
    attempt,
    place: placeOf(state, context),
    hostPort: state.hostPort,
    folders: context.folders(state.pod),
    images: context.images,
    sources: context.sources,
    maxLogBytes: context.maxLogBytes,
    otherPods: context.addresses?.othersThan(state.podIP ?? "") ?? [],
  });
}

const PROBLEM_EVENTS: Readonly<Record<StartProblem["reason"], string>> = {
  ErrImagePull: "Failed",
  CreateContainerConfigError: "Failed",
  CreateContainerError: "Failed",
  ContainerCreating: "FailedMount",
};

function noteRefusal(
  state: PodState,
  container: ManagedContainer,
  problem: StartProblem,
  context: KubeletContext,
): void {
  const repeated = container.phase.is === "waiting" || container.refusals.next(0) > 0;
  const waitMs = repeated ? container.refusals.next(0) : context.backoff.initialMs;
  const reason = problem.reason === "ErrImagePull" && repeated ? "ImagePullBackOff" : problem.reason;
  container.phase = { is: "waiting", reason, message: problem.message, untilMs: Date.now() + waitMs };
  note(state, container, context, "Warning", PROBLEM_EVENTS[problem.reason], problem.message);
}

/** Starts the next attempt. Never rejects: a refusal is a waiting phase, a failed start an ended one. */
export async function startContainer(
  state: PodState,
  container: ManagedContainer,
  context: KubeletContext,
): Promise<void> {
  const attempt = container.everStarted ? container.attempt + 1 : 0;
  const askedMs = Date.now();
  container.phase = { is: "starting" };
  try {
    await ensureAddress(state, context);
    const spec = makeRunSpec(state, container, attempt, context);
    const runtime = await context.runtime();
    container.last = container.ended ?? container.last;
    container.ended = undefined;
    container.everStarted = true;
    container.attempt = attempt;
    container.processId = spec.id;
    container.runSpec = spec;
    const record = await runtime.run(spec);
    container.phase = { is: "running", startedAtMs: record.startedAtMs };
    const { image } = container.spec;
    note(state, container, context, "Normal", "Pulled", `Container image "${image}" runs as a local process`);
    note(state, container, context, "Normal", "Started", `Started container ${container.spec.name}`);
    watchContainer(state, container, context);
    void runPostStart(state, container, context);
  } catch (error) {
    if (error instanceof StartProblem) {
      noteRefusal(state, container, error, context);
    } else {
      const message = error instanceof Error ? error.message : String(error);
      note(state, container, context, "Warning", "Failed", `Error: ${message}`);
      const exit = { exitCode: START_ERROR_EXIT, signal: 0, oomKilled: false, finishedAtMs: Date.now() };
      container.phase = { is: "running", startedAtMs: askedMs };
      noteExit(state, container, exit, context, { reason: "StartError", message });
    }
  }
  state.changed();
}

function doorOf(state: PodState, container: ManagedContainer, context: KubeletContext): ContainerDoor {
  return {
    container: container.spec,
    address: state.podIP ?? "",
    dialPort: (port) => state.hostPort ?? port,
    async exec(command, timeoutMs) {
      const spec = container.runSpec ?? makeRunSpec(state, container, container.attempt, context);
      const runtime = await context.runtime();
      return runtime.exec({ argv: command, env: spec.env, cwd: spec.cwd, timeoutMs });
    },
  };
}

async function runPostStart(
  state: PodState,
  container: ManagedContainer,
  context: KubeletContext,
): Promise<void> {
  const hook = container.spec.lifecycle?.postStart;
  if (!hook) return;
  const { processId } = container;
  const answer = await askContainer(hook, doorOf(state, container, context), graceSeconds(state) * 1000);
  if (answer.ok || container.processId !== processId || container.phase.is !== "running") return;
  note(
    state,
    container,
    context,
    "Warning",
    "FailedPostStartHook",
    `PostStartHook failed: ${answer.message}`,
  );
  await stopContainer(state, container, context, "FailedPostStartHook");
}

type ProbeKind = "Startup" | "Readiness" | "Liveness";

/** Starts the container's probes; without any it is started and ready at once. */
export function watchContainer(state: PodState, container: ManagedContainer, context: KubeletContext): void {
  const stops: (() => void)[] = [];
  let stopped = false;
  container.stopProbes = () => {
    stopped = true;
    for (const stop of stops) stop();
  };
  if (container.isInit && container.spec.restartPolicy !== "Always") return;
  const door = doorOf(state, container, context);
  const probe = (kind: ProbeKind, spec: ProbeSpec, onSuccess: () => void, onFailure: () => void): void => {
    const stop = startProbe({
      spec,
      eager: kind !== "Liveness",
      ask: (timeoutMs) => askContainer(spec, door, timeoutMs),
      onFailedAsk: (message) =>
        note(state, container, context, "Warning", "Unhealthy", `${kind} probe failed: ${message}`),
      onResult: (result) => (result.state === "success" ? onSuccess() : onFailure()),
    });
    if (stopped) stop();
    else stops.push(stop);
  };
  const setReady = (ready: boolean): void => {
    if (container.ready === ready) return;
    container.ready = ready;
    state.changed();
  };
  const restart = (kind: ProbeKind, spec: ProbeSpec) => (): void => {
    container.stopProbes();
    const seconds = spec.terminationGracePeriodSeconds;
    void stopContainer(state, container, context, `failed ${kind.toLowerCase()} probe`, seconds);
  };
  const { startupProbe, readinessProbe, livenessProbe } = container.spec;
  const afterStartup = (): void => {
    container.started = true;
    if (readinessProbe) {
      probe(
        "Readiness",
        readinessProbe,
        () => setReady(true),
        () => setReady(false),
      );
    } else container.ready = true;
    if (livenessProbe) probe("Liveness", livenessProbe, () => {}, restart("Liveness", livenessProbe));
    state.changed();
  };
  if (startupProbe && !container.started) {
    probe(
      "Startup",
      startupProbe,
      () => {
        stops.shift()?.();
        afterStartup();
      },
      restart("Startup", startupProbe),
    );
  } else afterStartup();
}

/** Takes note of the end of the present attempt. */
export function noteExit(
  state: PodState,
  container: ManagedContainer,
  exit: ExitRecord,
  context: KubeletContext,
  why?: { reason: string; message: string },
): void {
  const startedAtMs = container.phase.is === "running" ? container.phase.startedAtMs : exit.finishedAtMs;
  container.stopProbes();
  container.started = false;
  container.ready = container.isInit && exit.exitCode === 0;
  const message = why?.message ?? lastWords(state, container, exit, context);
  container.ended = terminatedState(container, startedAtMs, exit, why?.reason, message);
  container.waitMs = container.restarts.next(exit.finishedAtMs - startedAtMs);
  container.phase = { is: "ended", exitCode: exit.exitCode, retryAtMs: Date.now() + container.waitMs };
  const { name } = container.spec;
  if (exit.oomKilled) {
    const limit = String(container.spec.resources?.limits?.["memory"] ?? "");
    note(
      state,
      container,
      context,
      "Warning",
      "OOMKilled",
      `Container ${name} used more memory than its limit of ${limit}`,
    );
  }
  const policy = container.spec.restartPolicy ?? state.pod.spec.restartPolicy ?? "Always";
  if (state.killAtMs === undefined && container.waitMs > 0 && willRestart(policy, exit.exitCode)) {
    const where = `${name} in pod ${state.pod.metadata.name}_${state.pod.metadata.namespace ?? ""}(${state.pod.metadata.uid})`;
    note(state, container, context, "Warning", "BackOff", `Back-off restarting failed container ${where}`);
  }
  for (const tell of container.onEnded.splice(0)) tell();
}

async function runPreStop(
  state: PodState,
  container: ManagedContainer,
  context: KubeletContext,
  hook: Handler,
  timeoutMs: number,
): Promise<void> {
  const answer = await askContainer(hook, doorOf(state, container, context), timeoutMs);
  if (answer.ok) return;
  note(state, container, context, "Warning", "FailedPreStopHook", `PreStopHook failed: ${answer.message}`);
}

/** What the pod wants its log to say about a failure. */
function lastWords(
  state: PodState,
  container: ManagedContainer,
  exit: ExitRecord,
  context: KubeletContext,
): string | undefined {
  const { name, terminationMessagePolicy } = container.spec;
  if (exit.exitCode === 0 || terminationMessagePolicy !== "FallbackToLogsOnError") return undefined;
  return readLogTail(join(context.folders(state.pod).logDir, name, `${container.attempt}.log`));
}

function graceSeconds(state: PodState): number {
  return state.pod.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
}

function ended(container: ManagedContainer): Promise<void> {
  if (container.phase.is !== "running") return Promise.resolve();
  return new Promise((resolve) => container.onEnded.push(resolve));
}

async function endsBefore(end: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), Math.max(0, ms));
  });
  const inTime = await Promise.race([end.then(() => true as const), late]);
  clearTimeout(timer);
  return inTime;
}

/**
 * Ends the present attempt: preStop hook, SIGTERM, SIGKILL when the grace period is over. Resolves when the process is gone.
 * While the pod as a whole is ending its `killAtMs` counts, also when it comes nearer meanwhile.
 */
export async function stopContainer(
  state: PodState,
  container: ManagedContainer,
  context: KubeletContext,
  why: string,
  seconds: number = graceSeconds(state),
): Promise<void> {
  await container.starting;
  if (container.phase.is !== "running" || container.processId === undefined) return;
  const { processId } = container;
  const end = ended(container);
  const ownDeadlineMs = Date.now() + seconds * 1000;
  let extraMs = 0;
  const leftMs = (): number => (state.killAtMs ?? ownDeadlineMs) + extraMs - Date.now();
  note(
    state,
    container,
    context,
    "Normal",
    "Killing",
    `Stopping container ${container.spec.name}${why ? `: ${why}` : ""}`,
  );
  const send = async (signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
    const runtime = await context.runtime();
    await runtime.signal(processId, signal);
  };
  const hook = container.spec.lifecycle?.preStop;
  if (hook && leftMs() > 0) {
    const asked = runPreStop(state, container, context, hook, leftMs());
    await Promise.race([asked, end]);
    if (leftMs() <= 0) extraMs = AFTER_HOOK_MS - leftMs();
  }
  if (leftMs() > 0) await send("SIGTERM").catch(() => {});
  while (leftMs() > 0 && !state.abandoned)
    if (await endsBefore(end, Math.min(leftMs(), KILL_CHECK_MS))) return;
  if (state.abandoned) return;
  do await send("SIGKILL").catch(() => {});
  while (!state.abandoned && !(await endsBefore(end, 1000)));
}

/** Ends all containers of the pod, sidecars last and in reverse order. Resolves when no process is left. */
export async function stopAllContainers(
  state: PodState,
  context: KubeletContext,
  why: string,
): Promise<void> {
  const sidecars = state.init.filter(({ spec }) => spec.restartPolicy === "Always");
  const others = allContainers(state).filter((container) => !sidecars.includes(container));
  await Promise.all(others.map((container) => stopContainer(state, container, context, why)));
  for (const sidecar of sidecars.toReversed()) await stopContainer(state, sidecar, context, why);
}
