import type { Store } from "../store/store.ts";
import type { KubeletContext } from "./kubelet-context.ts";
import { errorText, isRefusal } from "./error-text.ts";
import { kubeTime, type Pod, type PodCondition } from "./pod.ts";

/** Whether the pod is for this node: bound to it, or to none and left to the default scheduler. */
export function isForNode(pod: Pod, nodeName: string): boolean {
  const { nodeName: wanted = "", schedulerName = "default-scheduler" } = pod.spec;
  return wanted === "" ? schedulerName === "default-scheduler" : wanted === nodeName;
}

/** Why the pod cannot run on the node; undefined when it can. A bound pod can. */
export function whyUnschedulable(store: Pick<Store, "get">, pod: Pod, nodeName: string): string | undefined {
  if (pod.spec.nodeName) return undefined;
  const labels = store.get("nodes", undefined, nodeName)?.metadata.labels ?? {};
  const fits = Object.entries(pod.spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
  return fits ? undefined : "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
}

/** Says in the pod's status that it waits for a node; without effect when it says so already. */
export function reportUnschedulable(context: KubeletContext, pod: Pod, message: string): void {
  const others = pod.status?.conditions?.filter(({ type }) => type !== "PodScheduled") ?? [];
  const before = pod.status?.conditions?.find(({ type }) => type === "PodScheduled");
  if (before?.message === message) return;
  const condition: PodCondition = {
    type: "PodScheduled",
    status: "False",
    reason: "Unschedulable",
    message,
    lastProbeTime: null,
    lastTransitionTime: kubeTime(Date.now()),
  };
  const { namespace, name } = pod.metadata;
  const status = { phase: "Pending", conditions: [...others, condition] };
  context.store
    .patch("pods", namespace, name, { status }, { subresource: "status" })
    .catch((error: unknown) => {
      if (!isRefusal(error, 404)) context.log(`pod "${namespace}/${name}": ${errorText(error)}`);
    });
  context.events.record(pod, { type: "Warning", reason: "FailedScheduling", message });
}
