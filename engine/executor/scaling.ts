import type { Serving } from "../../api/kinds/serving.ts";
import { drainPod } from "./drain-pod.ts";
import type { Parts } from "./parts.ts";
import type { Pod } from "./pod.ts";
import type { Revision } from "./revision.ts";
import type { ScaleTarget } from "./scale-decision.ts";

/** No other pod is wanted in the place of this one. */
export function scaleDown(
  { workloads, deployments, fleet }: Parts,
  pod: Pod,
  reason: string,
  graceSeconds?: number,
): void {
  workloads.scaledDown(pod);
  deployments.scaledDown(pod);
  fleet.discard(pod, reason, graceSeconds);
}

/** As the Function says now; its revision was made with what it said then. */
export const scaleOf = (
  { scales }: Parts,
  { key, serving }: Pick<Revision, "key" | "serving">,
): Serving["scale"] => scales.get(key) ?? serving.scale;

/**
 * Pods that the revision keeps although they are idle: what it says where it has requests, one where an alias may need it at any moment,
 * and none where only a version names it.
 */
export function retainedPods(parts: Parts, revision: Revision): number {
  const retained = hasRequests(parts, revision) ? revision.serving.limits.retainPods : 0;
  return Math.max(retained, leastPods(parts, revision));
}

const hasRequests = ({ functions, aliases }: Parts, revision: Revision): boolean =>
  functions.isCurrent(revision) || aliases.serves(revision);

const leastPods = (parts: Parts, revision: Revision): number =>
  Math.max(
    hasRequests(parts, revision) ? (scaleOf(parts, revision)?.minPods ?? 0) : 0,
    parts.aliases.keeps(revision) ? 1 : 0,
  );

/** Pods that the revision goes on with when it has `pods` and the Function begins to serve another one. */
export function keptPods({ aliases }: Parts, revision: Revision, pods: number): number {
  if (aliases.serves(revision)) return pods;
  return aliases.keeps(revision) ? 1 : 0;
}

/** Most pods that the revision may have now. */
export function maxPodsOf(parts: Parts, revision: Pick<Revision, "key" | "serving">): number {
  if (parts.deployments.handles(revision)) return parts.deployments.maxPods(revision.key);
  return Math.min(
    revision.serving.limits.concurrency,
    scaleOf(parts, revision)?.maxPods ?? Number.POSITIVE_INFINITY,
  );
}

/**
 * What the load decides about the revision; undefined where it decides nothing. The last pods of an `auto` function go by their own word
 * that nobody uses them (`idle-reaper.ts`), so that the load never asks for less than one.
 */
export function scaleTarget(parts: Parts, revision: Revision): ScaleTarget | undefined {
  const { workloads, deployments, functions, rollover, options } = parts;
  const { limits } = revision.serving;
  const deployed = deployments.handles(revision);
  if (!functions.isNamed(revision) || rollover.isWithdrawn(revision)) return undefined;
  if (!deployed && (!workloads.handles(revision) || revision.pods().size === 0)) return undefined;
  const { maxPods = limits.concurrency, requestsPerSecond } = scaleOf(parts, revision) ?? {};
  return {
    requestsPerPod: limits.requestsPerPod,
    utilization: options.settings.targetUtilization / 100,
    requestsPerSecond,
    minPods: deployed ? leastDeployed(parts, revision) : Math.max(1, leastPods(parts, revision)),
    maxPods: Math.min(maxPods, limits.concurrency),
    downAfterMs: options.settings.scaleDownDelayMs,
    toZeroAfterMs: deployed ? limits.idleTimeoutMs : Number.POSITIVE_INFINITY,
  };
}

/** A Deployment that an alias needs no more than perhaps is not started for that alone. */
const leastDeployed = (parts: Parts, revision: Revision): number =>
  parts.functions.isCurrent(revision)
    ? (scaleOf(parts, revision)?.minPods ?? 0)
    : Math.min(leastPods(parts, revision), revision.pods().size);

/** Brings the revision to so many pods. Above what requests need, a HorizontalPodAutoscaler decides where one works. */
export function applyScale({ deployments, autoScale }: Parts, revision: Revision, pods: number): void {
  const deployed = deployments.handles(revision);
  if (deployed) deployments.need(revision, pods);
  if (!deployed || pods === 0 || !deployments.isAutoscaled(revision)) autoScale.apply(revision, pods);
}

/** So long routers may still send requests to a pod that is not published any more. */
const UNPUBLISHED_MS = 2_000;

/** Resolves when the pod, which is not published any more, may go. One that answers no questions finishes after its SIGTERM. */
export async function drained(pod: Pod, deadlineMs: number, stopped: () => boolean): Promise<void> {
  if (!pod.plain) return drainPod(pod, deadlineMs, stopped);
  await new Promise((resolve) => setTimeout(resolve, UNPUBLISHED_MS).unref());
}
