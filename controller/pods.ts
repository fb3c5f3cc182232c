import {
  LABEL_COMPONENT,
  LABEL_ENVIRONMENT,
  LABEL_MANAGED_BY,
  LABEL_POD_STATE,
  MANAGED_BY,
} from "../api/names.ts";
import type { PodSummary } from "../api/wire/ops.ts";
import type { KubeClient } from "../kube/client.ts";
import { PODS, type Pod } from "../kube/core.ts";
import { createInformer, type Informer } from "../kube/informer.ts";
import { PODS_BY_UID, type PodFacts, podFactsByUid, podFactsOf } from "../kube/pod-facts.ts";

/** The platform's pods as they are now. */
export interface PodBook {
  start(): void;
  stop(): Promise<void>;
  readonly synced: Promise<void>;
  /** Whether all pods are known; until then `list` would pass off ignorance as "none". */
  hasSynced(): boolean;
  list(): PodSummary[];
  /** Whose pod this is, as its labels say; also shortly after it is gone, since its last lines come late. */
  factsOf(uid: string): PodFacts | undefined;
}

const MAX_DEPARTED = 2_000;

export function watchPods(
  client: Pick<KubeClient, "list" | "watch">,
  onError: (error: unknown, failures: number) => void,
): PodBook {
  const pods: Informer<Pod> = createInformer<Pod>({
    client,
    type: PODS,
    labelSelector: `${LABEL_MANAGED_BY}=${MANAGED_BY}`,
    transform: slim,
    indexes: PODS_BY_UID,
    onError,
  });
  return {
    start: () => pods.start(),
    stop: () => pods.stop(),
    synced: pods.synced,
    hasSynced: () => pods.hasSynced(),
    list: () => pods.list().map(summaryOf),
    factsOf: podFactsByUid(pods, MAX_DEPARTED),
  };
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
    ...podFactsOf(pod),
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
