import { LABEL_MANAGED_BY, MANAGED_BY } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import { type Pod, PODS } from "../../kube/core.ts";
import { createInformer } from "../../kube/informer.ts";
import { type PodFacts, podFactsByUid, PODS_BY_UID } from "../../kube/pod-facts.ts";

/** Whose the platform's pods are. */
export interface PodFactsWatch {
  readonly synced: Promise<void>;
  start(): void;
  stop(): Promise<void>;
  /** As the pod's labels say; also shortly after it is gone, since its last lines come late. */
  factsOf(uid: string): PodFacts | undefined;
}

const MAX_DEPARTED = 10_000;

/** Watches labels of the platform's pods and keeps nothing else of them. */
export function watchPodFacts(
  client: Pick<KubeClient, "list" | "watch">,
  onError: (error: unknown, failures: number) => void,
): PodFactsWatch {
  const pods = createInformer<Pod>({
    client,
    type: PODS,
    labelSelector: `${LABEL_MANAGED_BY}=${MANAGED_BY}`,
    transform: ({ metadata: { namespace, name, uid, resourceVersion, labels } }) => ({
      metadata: { namespace, name, uid, resourceVersion, labels },
      spec: { containers: [] },
    }),
    indexes: PODS_BY_UID,
    onError,
  });
  return {
    synced: pods.synced,
    start: () => pods.start(),
    stop: () => pods.stop(),
    factsOf: podFactsByUid(pods, MAX_DEPARTED),
  };
}
