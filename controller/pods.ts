import {
  LABEL_COMPONENT,
  LABEL_ENVIRONMENT,
  LABEL_FUNCTION_NAME,
  LABEL_MANAGED_BY,
  LABEL_POD_STATE,
  LABEL_REVISION,
  MANAGED_BY,
} from "../api/names.ts";
import type { PodSummary } from "../api/wire/ops.ts";
import type { KubeClient } from "../kube/client.ts";
import { type Pod, PODS } from "../kube/core.ts";
import { createInformer, type Informer } from "../kube/informer.ts";

/** The platform's pods as they are now. */
export interface PodBook {
  start(): void;
  stop(): Promise<void>;
  readonly synced: Promise<void>;
  /** Whether all pods are known; until then `list` would pass off ignorance as "none". */
  hasSynced(): boolean;
  list(): PodSummary[];
  /** Whose pod this is, as its labels say; also shortly after it is gone, since its last lines come late. */
  factsOf(uid: string): { function: string; revision: string } | undefined;
}

const MAX_DEPARTED = 2_000;

export function watchPods(
  client: Pick<KubeClient, "list" | "watch">,
  onError: (error: unknown, failures: number) => void,
): PodBook {
  const departed = new Map<string, { function: string; revision: string }>();
  const pods: Informer<Pod> = createInformer<Pod>({
    client,
    type: PODS,
    labelSelector: `${LABEL_MANAGED_BY}=${MANAGED_BY}`,
    transform: slim,
    indexes: { uid: (pod) => [pod.metadata.uid ?? ""] },
    onError,
  });
  pods.subscribe({
    onDelete: (pod) => {
      departed.set(pod.metadata.uid ?? "", factsOf(pod));
      for (const uid of departed.keys()) {
        if (departed.size <= MAX_DEPARTED) break;
        departed.delete(uid);
      }
    },
  });
  return {
    start: () => pods.start(),
    stop: () => pods.stop(),
    synced: pods.synced,
    hasSynced: () => pods.hasSynced(),
    list: () => pods.list().map(summaryOf),
    factsOf: (uid) => {
      const pod = pods.byIndex("uid", uid)[0];
      return pod ? factsOf(pod) : departed.get(uid);
    },
  };
}

function factsOf({ metadata: { labels } }: Pod): { function: string; revision: string } {
  return { function: labels?.[LABEL_FUNCTION_NAME] ?? "", revision: labels?.[LABEL_REVISION] ?? "" };
}

function slim(pod: Pod): Pod {
  const { namespace, name, uid, resourceVersion, labels, creationTimestamp, deletionTimestamp } =
    pod.metadata;
  return {
    metadata: { namespace, name, uid, resourceVersion, labels, creationTimestamp, deletionTimestamp },
    spec: { containers: [] },
    ...(pod.status ? { status: pod.status } : {}),
  };
}

function summaryOf(pod: Pod): PodSummary {
  const { metadata, status } = pod;
  const labels = metadata.labels ?? {};
  const containers = status?.containerStatuses ?? [];
  const waiting = containers
    .map(({ state }) => state?.waiting ?? state?.terminated)
    .find((state) => state !== undefined);
  return {
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    uid: metadata.uid ?? "",
    environment: labels[LABEL_ENVIRONMENT] ?? "",
    ...factsOf(pod),
    state: labels[LABEL_POD_STATE] ?? "",
    component: labels[LABEL_COMPONENT] ?? "",
    phase: metadata.deletionTimestamp ? "Terminating" : (status?.phase ?? "Unknown"),
    ready: status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") ?? false,
    restarts: containers.reduce((sum, { restartCount }) => sum + restartCount, 0),
    ip: status?.podIP ?? "",
    createdAt: metadata.creationTimestamp ?? "",
    message: status?.message ?? [waiting?.reason, waiting?.message].filter((part) => part).join(": "),
  };
}
