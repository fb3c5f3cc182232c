import type { KubeClient } from "../../kube/client.ts";
import { type Pod, PODS } from "../../kube/core.ts";
import { isConflict } from "../../kube/kube-error.ts";
import type { BuilderCluster, BuilderPodView } from "./builder-cluster.ts";

/** The builder's view of a Kubernetes API, over `kube/`. */
export function kubeBuilderCluster(client: KubeClient): BuilderCluster {
  return {
    listPods: async (namespace, labels) => {
      const labelSelector = Object.entries(labels)
        .map(([name, value]) => `${name}=${value}`)
        .join(",");
      return (await client.list(PODS, { namespace, labelSelector })).items.map(viewOf);
    },
    getPod: async (namespace, name) => {
      const pod = await client.find(PODS, { namespace, name });
      return pod && viewOf(pod);
    },
    createPod: async ({ metadata, spec }) =>
      viewOf(
        await client.create(PODS, {
          metadata: { ...metadata, ownerReferences: metadata.ownerReferences.map((owner) => ({ ...owner })) },
          spec: { containers: [], ...spec },
        }),
      ),
    deletePod: async (namespace, name, uid) => {
      try {
        await client.delete(PODS, { namespace, name }, { preconditions: { uid }, gracePeriodSeconds: 1 });
      } catch (error) {
        // Another pod has the name by now: ours is gone.
        if (!isConflict(error)) throw error;
      }
    },
  };
}

function viewOf({ metadata, status }: Pod): BuilderPodView {
  const waiting = status?.containerStatuses
    ?.map((container) => container.state?.waiting)
    .find((state) => state?.reason);
  return {
    namespace: metadata.namespace ?? "default",
    name: metadata.name,
    uid: metadata.uid ?? "",
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    ending: metadata.deletionTimestamp !== undefined,
    phase: status?.phase ?? "Pending",
    ready:
      status?.conditions?.some(({ type, status: value }) => type === "Ready" && value === "True") ?? false,
    ip: status?.podIP,
    waiting:
      waiting?.reason === undefined ? undefined : { reason: waiting.reason, message: waiting.message ?? "" },
  };
}
