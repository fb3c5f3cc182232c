import { isTerminal, type Pod, type PodCondition } from "../kubelet/pod.ts";

const DELETION_COST = "controller.kubernetes.io/pod-deletion-cost";
const PHASE_RANK: Readonly<Record<string, number>> = { Pending: 0, Unknown: 1, Running: 2 };

function readyCondition(pod: Pod): PodCondition | undefined {
  return pod.status?.conditions?.find(({ type }) => type === "Ready");
}

export function isReady(pod: Pod): boolean {
  return readyCondition(pod)?.status === "True";
}

/** Counts towards the wanted number: neither over nor on its way out. */
export function isActive(pod: Pod): boolean {
  return !isTerminal(pod) && pod.metadata.deletionTimestamp === undefined;
}

/** Milliseconds until a ready pod has been so for `minReadySeconds`; 0 when it is available, undefined when it is not ready. */
export function untilAvailableMs(pod: Pod, minReadySeconds: number, nowMs: number): number | undefined {
  const condition = readyCondition(pod);
  if (condition?.status !== "True") return undefined;
  if (minReadySeconds === 0) return 0;
  const sinceMs = Date.parse(condition.lastTransitionTime ?? "");
  return Math.max(0, sinceMs + minReadySeconds * 1000 - nowMs);
}

function deletionCost(pod: Pod): number {
  const cost = Number(pod.metadata.annotations?.[DELETION_COST] ?? 0);
  return Number.isInteger(cost) ? cost : 0;
}

function restarts(pod: Pod): number {
  return (pod.status?.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0);
}

/** Negative when `left` is to go before `right`: Kubernetes' order. */
function compareForDeletion(left: Pod, right: Pod): number {
  const assigned = (pod: Pod): number => (pod.spec.nodeName ? 1 : 0);
  const phase = (pod: Pod): number => PHASE_RANK[pod.status?.phase ?? "Pending"] ?? 0;
  const ready = (pod: Pod): number => (isReady(pod) ? 1 : 0);
  const readySinceMs = (pod: Pod): number => Date.parse(readyCondition(pod)?.lastTransitionTime ?? "") || 0;
  const createdMs = (pod: Pod): number => Date.parse(pod.metadata.creationTimestamp);
  return (
    assigned(left) - assigned(right) ||
    phase(left) - phase(right) ||
    ready(left) - ready(right) ||
    deletionCost(left) - deletionCost(right) ||
    (isReady(left) ? readySinceMs(right) - readySinceMs(left) : 0) ||
    restarts(right) - restarts(left) ||
    createdMs(right) - createdMs(left) ||
    (left.metadata.name < right.metadata.name ? 1 : -1)
  );
}

/** The `count` pods of a ReplicaSet that are to go first. */
export function choosePodsToDelete(pods: readonly Pod[], count: number): Pod[] {
  return pods.toSorted(compareForDeletion).slice(0, Math.max(0, count));
}
