import { LABEL_FUNCTION_NAME, LABEL_MANAGED_BY, LABEL_REVISION, MANAGED_BY } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import { type Pod, PODS } from "../../kube/core.ts";
import { createInformer } from "../../kube/informer.ts";
import type { PodFacts } from "./collector.ts";

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
  const departed = new Map<string, PodFacts>();
  const pods = createInformer<Pod>({
    client,
    type: PODS,
    labelSelector: `${LABEL_MANAGED_BY}=${MANAGED_BY}`,
    transform: ({ metadata: { namespace, name, uid, resourceVersion, labels } }) => ({
      metadata: { namespace, name, uid, resourceVersion, labels },
      spec: { containers: [] },
    }),
    indexes: { uid: (pod) => [pod.metadata.uid ?? ""] },
    onError,
  });
  pods.subscribe({
    onDelete: (pod) => {
      departed.set(pod.metadata.uid ?? "", labelled(pod));
      for (const uid of departed.keys()) {
        if (departed.size <= MAX_DEPARTED) break;
        departed.delete(uid);
      }
    },
  });
  return {
    synced: pods.synced,
    start: () => pods.start(),
    stop: () => pods.stop(),
    factsOf: (uid) => {
      const pod = pods.byIndex("uid", uid)[0];
      return pod ? labelled(pod) : departed.get(uid);
    },
  };
}

const labelled = ({ metadata: { labels } }: Pod): PodFacts => ({
  function: labels?.[LABEL_FUNCTION_NAME] ?? "",
  revision: labels?.[LABEL_REVISION] ?? "",
});
