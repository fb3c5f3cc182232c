import { type PlannedContainer, type PodPlan } from "./pod-plan.ts";
import type {
  ContainerStateStatus,
  ContainerStatus,
  Pod,
  PodCondition,
  PodPhase,
  PodSpec,
  PodStatus,
  TerminatedState,
} from "./pod.ts";
import { kubeTime } from "./pod.ts";
import { formatWait } from "./restart-backoff.ts";

/** A container with what its status says beyond the plan. */
export interface ReportedContainer extends PlannedContainer {
  /** Number of the present or last start, from 0. */
  attempt: number;
  ready: boolean;
  /** How the present attempt ended, while it is the present one. */
  ended?: TerminatedState | undefined;
  /** How the attempt before ended. */
  last?: TerminatedState | undefined;
  processId?: string | undefined;
  /** Length of the present wait before the next attempt. */
  waitMs?: number | undefined;
}

export interface PodReport {
  pod: Pod;
  init: readonly ReportedContainer[];
  main: readonly ReportedContainer[];
  plan: PodPlan;
  podIP: string | undefined;
  hostIP: string;
  startTimeMs: number;
  nowMs: number;
  /** Set when the pod was ended as a whole. */
  failure?: { reason: string; message: string } | undefined;
}

function stateOf(
  container: ReportedContainer,
  pod: Pod,
  initialized: boolean,
  isOver: boolean,
): ContainerStateStatus {
  const { phase } = container;
  switch (phase.is) {
    case "running":
      return { running: { startedAt: kubeTime(phase.startedAtMs) } };
    case "waiting":
      return { waiting: { reason: phase.reason, message: phase.message } };
    case "ended": {
      const restarts = !isOver && Number.isFinite(phase.retryAtMs);
      if (!restarts || (container.waitMs ?? 0) === 0)
        return container.ended ? { terminated: container.ended } : {};
      const wait = formatWait(container.waitMs ?? 0);
      const where = `container=${container.spec.name} pod=${pod.metadata.name}_${pod.metadata.namespace ?? ""}(${pod.metadata.uid})`;
      return {
        waiting: { reason: "CrashLoopBackOff", message: `back-off ${wait} restarting failed ${where}` },
      };
    }
    default:
      return { waiting: { reason: initialized ? "ContainerCreating" : "PodInitializing" } };
  }
}

function containerStatus(
  container: ReportedContainer,
  report: PodReport,
  initialized: boolean,
): ContainerStatus {
  const state = stateOf(container, report.pod, initialized, report.plan.finished !== undefined);
  const previous = state.terminated ? container.last : (container.ended ?? container.last);
  return {
    name: container.spec.name,
    state,
    lastState: previous ? { terminated: previous } : {},
    ready: container.ready,
    started: container.phase.is === "running" && container.started,
    restartCount: container.attempt,
    image: container.spec.image,
    imageID: container.spec.image,
    ...(container.processId !== undefined ? { containerID: `localkube://${container.processId}` } : {}),
  };
}

/** Guaranteed, Burstable or BestEffort, by the rule of Kubernetes. */
function qosClass(spec: PodSpec): string {
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  const stated = containers.some(({ resources }) =>
    ["cpu", "memory"].some(
      (name) => resources?.limits?.[name] !== undefined || resources?.requests?.[name] !== undefined,
    ),
  );
  if (!stated) return "BestEffort";
  const guaranteed = containers.every(({ resources }) =>
    ["cpu", "memory"].every((name) => {
      const limit = resources?.limits?.[name];
      return limit !== undefined && String(resources?.requests?.[name] ?? limit) === String(limit);
    }),
  );
  return guaranteed ? "Guaranteed" : "Burstable";
}

function phaseOf(report: PodReport): PodPhase {
  if (report.failure) return "Failed";
  if (report.plan.finished) return report.plan.finished;
  if (!report.plan.initialized) return "Pending";
  const neverStarted = report.main.some(
    ({ phase, attempt, last, ended }) =>
      (phase.is === "new" || phase.is === "starting" || phase.is === "waiting") &&
      attempt === 0 &&
      !last &&
      !ended,
  );
  return neverStarted ? "Pending" : "Running";
}

type ConditionBody = Pick<PodCondition, "status"> & Partial<Pick<PodCondition, "reason" | "message">>;

function readiness(report: PodReport, phase: PodPhase): { containers: ConditionBody; pod: ConditionBody } {
  if (phase === "Succeeded" || phase === "Failed") {
    const over: ConditionBody = {
      status: "False",
      reason: phase === "Succeeded" ? "PodCompleted" : "PodFailed",
    };
    return { containers: over, pod: over };
  }
  const unready = report.main.filter((container) => !container.ready).map((container) => container.spec.name);
  if (unready.length > 0 || !report.plan.initialized) {
    const body: ConditionBody = {
      status: "False",
      reason: "ContainersNotReady",
      message: `containers with unready status: [${unready.join(" ")}]`,
    };
    return { containers: body, pod: body };
  }
  const open = (report.pod.spec.readinessGates ?? []).filter(
    ({ conditionType }) =>
      !report.pod.status?.conditions?.some(({ type, status }) => type === conditionType && status === "True"),
  );
  const containers: ConditionBody = { status: "True" };
  if (open.length === 0) return { containers, pod: { status: "True" } };
  const names = open.map(({ conditionType }) => `"${conditionType}"`).join(", ");
  return {
    containers,
    pod: {
      status: "False",
      reason: "ReadinessGatesNotReady",
      message: `the status of pod readiness gate ${names} is not "True"`,
    },
  };
}

const OWN_CONDITIONS = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];

function conditionsOf(report: PodReport, phase: PodPhase): PodCondition[] {
  const before = report.pod.status?.conditions ?? [];
  const { containers, pod } = readiness(report, phase);
  const uninitialized = report.init
    .filter(({ phase, started, spec }) =>
      spec.restartPolicy === "Always" ? !started : !(phase.is === "ended" && phase.exitCode === 0),
    )
    .map(({ spec }) => spec.name);
  const initialized: ConditionBody =
    report.plan.initialized || phase === "Succeeded"
      ? { status: "True" }
      : {
          status: "False",
          reason: "ContainersNotInitialized",
          message: `containers with incomplete status: [${uninitialized.join(" ")}]`,
        };
  const bodies: [string, ConditionBody][] = [
    ["Initialized", initialized],
    ["Ready", pod],
    ["ContainersReady", containers],
    ["PodScheduled", { status: "True" }],
  ];
  const own = bodies.map(([type, body]): PodCondition => {
    const old = before.find((condition) => condition.type === type);
    const kept = old?.status === body.status ? old.lastTransitionTime : undefined;
    return { type, ...body, lastProbeTime: null, lastTransitionTime: kept ?? kubeTime(report.nowMs) };
  });
  return [...own, ...before.filter(({ type }) => !OWN_CONDITIONS.includes(type))];
}

/** The status of a pod as the kubelet sees it. Pure; conditions of others are kept. */
export function reportStatus(report: PodReport): PodStatus {
  const { pod, podIP, init, main, plan } = report;
  const phase = phaseOf(report);
  return {
    phase,
    ...report.failure,
    conditions: conditionsOf(report, phase),
    hostIP: report.hostIP,
    ...(podIP !== undefined ? { podIP, podIPs: [{ ip: podIP }] } : {}),
    startTime: kubeTime(report.startTimeMs),
    qosClass: qosClass(pod.spec),
    ...(init.length > 0
      ? { initContainerStatuses: init.map((one) => containerStatus(one, report, false)) }
      : {}),
    containerStatuses: main.map((one) => containerStatus(one, report, plan.initialized)),
  };
}
