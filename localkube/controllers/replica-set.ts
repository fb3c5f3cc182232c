import { errorText, isRefusal } from "../kubelet/error-text.ts";
import type { EventRecorder } from "../kubelet/event-recorder.ts";
import { asPod, kubeTime, type Pod } from "../kubelet/pod.ts";
import type { Store } from "../store/store.ts";
import { claimOwned } from "./claim-owned.ts";
import { choosePodsToDelete, isActive, isReady, untilAvailableMs } from "./replica-set-plan.ts";
import {
  canonicalJson,
  controlledBy,
  isReplicaSet,
  type ReplicaSet,
  selects,
  splitKey,
  type WorkloadCondition,
} from "./workload.ts";

const REPLICA_SETS = "replicasets.apps";

export interface ControllerContext {
  store: Store;
  events: EventRecorder;
}

async function createPod({ store, events }: ControllerContext, set: ReplicaSet): Promise<void> {
  const { template } = set.spec;
  const pod = await store.create("pods", {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...structuredClone(template.metadata),
      generateName: `${set.metadata.name}-`,
      namespace: set.metadata.namespace ?? "default",
      ownerReferences: [controlledBy(set)],
    },
    spec: structuredClone(template.spec),
  });
  events.record(set, {
    type: "Normal",
    reason: "SuccessfulCreate",
    message: `Created pod: ${pod.metadata.name}`,
  });
}

/** Starts with one and doubles, so that a template the API refuses costs few tries. */
async function createPods(context: ControllerContext, set: ReplicaSet, count: number): Promise<void> {
  let left = count;
  for (let batch = 1; left > 0; batch *= 2) {
    const size = Math.min(batch, left);
    await Promise.all(Array.from({ length: size }, () => createPod(context, set)));
    left -= size;
  }
}

async function deletePods(
  { store, events }: ControllerContext,
  set: ReplicaSet,
  pods: readonly Pod[],
): Promise<void> {
  await Promise.all(
    pods.map(async ({ metadata: { namespace, name, uid } }) => {
      try {
        await store.delete("pods", namespace, name, { preconditions: { uid } });
        events.record(set, { type: "Normal", reason: "SuccessfulDelete", message: `Deleted pod: ${name}` });
      } catch (error) {
        if (!isRefusal(error, 404, 409)) throw error;
      }
    }),
  );
}

interface Counts {
  replicas: number;
  fullyLabeledReplicas: number;
  readyReplicas: number;
  availableReplicas: number;
}

async function writeStatus(
  store: Store,
  set: ReplicaSet,
  counts: Counts,
  failure: string | undefined,
): Promise<void> {
  const others = (set.status?.conditions ?? []).filter(({ type }) => type !== "ReplicaFailure");
  const before = set.status?.conditions?.find(({ type }) => type === "ReplicaFailure");
  const failed: WorkloadCondition[] =
    failure === undefined
      ? []
      : [
          {
            type: "ReplicaFailure",
            status: "True",
            reason: "FailedCreate",
            message: failure,
            lastTransitionTime: before?.lastTransitionTime ?? kubeTime(Date.now()),
          },
        ];
  const conditions = [...others, ...failed];
  const status = {
    ...counts,
    observedGeneration: set.metadata.generation ?? 1,
    conditions: conditions.length > 0 ? conditions : null,
  };
  const current = { ...set.status, conditions: set.status?.conditions ?? null };
  if (canonicalJson({ ...current, ...status }) === canonicalJson(current)) return;
  await store.patch(
    REPLICA_SETS,
    set.metadata.namespace,
    set.metadata.name,
    { status },
    { subresource: "status" },
  );
}

/** Brings the pods of one ReplicaSet to the wanted number. Returns when to look again. */
export async function reconcileReplicaSet(
  context: ControllerContext,
  key: string,
): Promise<number | undefined> {
  const { store, events } = context;
  const { namespace, name } = splitKey(key);
  const set = store.get(REPLICA_SETS, namespace, name);
  if (!isReplicaSet(set) || set.metadata.deletionTimestamp !== undefined) return undefined;
  const candidates = store.list("pods", { namespace }).items.map(asPod).filter(isActive);
  const active = await claimOwned(store, "pods", set, candidates, (pod) =>
    selects(set.spec.selector, pod.metadata.labels),
  );
  const missing = (set.spec.replicas ?? 1) - active.length;
  let failure: string | undefined;
  if (missing > 0) {
    try {
      await createPods(context, set, missing);
    } catch (error) {
      failure = errorText(error);
      events.record(set, { type: "Warning", reason: "FailedCreate", message: `Error creating: ${failure}` });
    }
  } else if (missing < 0) {
    await deletePods(context, set, choosePodsToDelete(active, -missing));
  }
  const minReady = set.spec.minReadySeconds ?? 0;
  const waits = active.map((pod) => untilAvailableMs(pod, minReady, Date.now()));
  const templateLabels = Object.entries(set.spec.template.metadata?.labels ?? {});
  const counts: Counts = {
    replicas: active.length,
    fullyLabeledReplicas: active.filter(({ metadata: { labels = {} } }) =>
      templateLabels.every(([label, value]) => labels[label] === value),
    ).length,
    readyReplicas: active.filter(isReady).length,
    availableReplicas: waits.filter((wait) => wait === 0).length,
  };
  const latest = store.get(REPLICA_SETS, namespace, name);
  if (isReplicaSet(latest)) await writeStatus(store, latest, counts, failure);
  if (failure !== undefined) throw new Error(failure);
  const pending = waits.filter((wait) => wait !== undefined && wait > 0);
  return pending.length > 0 ? Math.min(...pending.map((wait) => (wait ?? 0) + 10)) : undefined;
}
