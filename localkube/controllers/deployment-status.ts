import { kubeTime } from "../kubelet/pod.ts";
import { boundsOf, wantedTotal } from "./deployment-plan.ts";
import type { Deployment, ReplicaSet, WorkloadCondition } from "./workload.ts";

type Status = NonNullable<Deployment["status"]>;

function sumOf(
  sets: readonly ReplicaSet[],
  field: "replicas" | "readyReplicas" | "availableReplicas",
): number {
  return sets.reduce((sum, set) => sum + (set.status?.[field] ?? 0), 0);
}

function isComplete({ spec }: Deployment, status: Status): boolean {
  const replicas = spec.replicas ?? 1;
  return (
    status.updatedReplicas === replicas &&
    status.replicas === replicas &&
    status.availableReplicas === replicas
  );
}

function hasProgressed(before: Status, now: Status): boolean {
  const old = (status: Status): number => (status.replicas ?? 0) - (status.updatedReplicas ?? 0);
  return (
    (now.updatedReplicas ?? 0) > (before.updatedReplicas ?? 0) ||
    old(now) < old(before) ||
    (now.readyReplicas ?? 0) > (before.readyReplicas ?? 0) ||
    (now.availableReplicas ?? 0) > (before.availableReplicas ?? 0)
  );
}

function conditionOf(status: Status, type: string): WorkloadCondition | undefined {
  return status.conditions?.find((condition) => condition.type === type);
}

function withTimes(
  before: WorkloadCondition | undefined,
  body: Omit<WorkloadCondition, "lastUpdateTime" | "lastTransitionTime">,
  nowMs: number,
  touch: boolean,
): WorkloadCondition {
  const now = kubeTime(nowMs);
  const same =
    before !== undefined &&
    before.status === body.status &&
    before.reason === body.reason &&
    before.message === body.message;
  if (same && !touch) return before;
  return {
    ...body,
    lastUpdateTime: now,
    lastTransitionTime: before?.status === body.status ? (before.lastTransitionTime ?? now) : now,
  };
}

function deadlineMs(deployment: Deployment): number {
  return (deployment.spec.progressDeadlineSeconds ?? 600) * 1000;
}

/** Milliseconds until the rollout counts as stuck; undefined when it is not under way. */
export function untilStuckMs(deployment: Deployment, status: Status, nowMs: number): number | undefined {
  const progressing = conditionOf(status, "Progressing");
  if (deployment.spec.paused || !progressing || progressing.reason === "NewReplicaSetAvailable")
    return undefined;
  if (progressing.reason === "ProgressDeadlineExceeded" || isComplete(deployment, status)) return undefined;
  return Math.max(0, Date.parse(progressing.lastUpdateTime ?? "") + deadlineMs(deployment) - nowMs);
}

function progressing(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  now: Status,
  nowMs: number,
): WorkloadCondition | undefined {
  const before = conditionOf(deployment.status ?? {}, "Progressing");
  const name = deployment.metadata.name;
  const what = newSet ? `ReplicaSet "${newSet.metadata.name}"` : `Deployment "${name}"`;
  const type = "Progressing";
  if (deployment.spec.paused) {
    return withTimes(
      before,
      { type, status: "Unknown", reason: "DeploymentPaused", message: "Deployment is paused" },
      nowMs,
      false,
    );
  }
  if (before?.reason === "DeploymentPaused") {
    return withTimes(
      before,
      { type, status: "Unknown", reason: "DeploymentResumed", message: "Deployment is resumed" },
      nowMs,
      false,
    );
  }
  const settled =
    before?.reason === "NewReplicaSetAvailable" &&
    newSet !== undefined &&
    before.message.includes(`"${newSet.metadata.name}"`);
  if (isComplete(deployment, now) && newSet) {
    const message = `${what} has successfully progressed.`;
    return withTimes(
      before,
      { type, status: "True", reason: "NewReplicaSetAvailable", message },
      nowMs,
      false,
    );
  }
  if (settled) return before;
  const moved = hasProgressed(deployment.status ?? {}, now);
  if (!before || moved || before.reason === "NewReplicaSetAvailable") {
    const message = `${what} is progressing.`;
    return withTimes(before, { type, status: "True", reason: "ReplicaSetUpdated", message }, nowMs, moved);
  }
  if (before.reason === "ProgressDeadlineExceeded") return before;
  if (nowMs < Date.parse(before.lastUpdateTime ?? "") + deadlineMs(deployment)) return before;
  const message = `${what} has timed out progressing.`;
  return withTimes(
    before,
    { type, status: "False", reason: "ProgressDeadlineExceeded", message },
    nowMs,
    false,
  );
}

/** The status of a Deployment from the status of its ReplicaSets. Pure. */
export function deploymentStatus(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  all: readonly ReplicaSet[],
  nowMs: number,
): Status {
  const { replicas, unavailable } = boundsOf(deployment);
  const availableReplicas = sumOf(all, "availableReplicas");
  const counts: Status = {
    observedGeneration: deployment.metadata.generation ?? 1,
    replicas: sumOf(all, "replicas"),
    updatedReplicas: newSet ? sumOf([newSet], "replicas") : 0,
    readyReplicas: sumOf(all, "readyReplicas"),
    availableReplicas,
    unavailableReplicas: Math.max(0, wantedTotal(all) - availableReplicas),
    ...(deployment.status?.collisionCount === undefined
      ? {}
      : { collisionCount: deployment.status.collisionCount }),
  };
  const enough = availableReplicas >= replicas - unavailable;
  const availability = withTimes(
    conditionOf(deployment.status ?? {}, "Available"),
    enough
      ? {
          type: "Available",
          status: "True",
          reason: "MinimumReplicasAvailable",
          message: "Deployment has minimum availability.",
        }
      : {
          type: "Available",
          status: "False",
          reason: "MinimumReplicasUnavailable",
          message: "Deployment does not have minimum availability.",
        },
    nowMs,
    false,
  );
  const failure = all
    .flatMap((set) => set.status?.conditions ?? [])
    .find(({ type }) => type === "ReplicaFailure");
  const progress = progressing(deployment, newSet, counts, nowMs);
  return {
    ...counts,
    conditions: [availability, ...(progress ? [progress] : []), ...(failure ? [failure] : [])],
  };
}
