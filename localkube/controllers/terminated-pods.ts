import { isRefusal } from "../kubelet/error-text.ts";
import { asPod, isTerminal, type Pod } from "../kubelet/pod.ts";
import type { Store } from "../store/store.ts";

/** Pods that are over and beyond the `keep` newest, oldest first. */
function tooMany(pods: readonly Pod[], keep: number): Pod[] {
  const over = pods
    .filter((pod) => isTerminal(pod) && pod.metadata.deletionTimestamp === undefined)
    .sort((left, right) => left.metadata.creationTimestamp.localeCompare(right.metadata.creationTimestamp));
  return over.slice(0, Math.max(0, over.length - keep));
}

/** Pods being deleted whose node does not exist: there is no kubelet that would end them. */
function abandoned(store: Pick<Store, "get">, pods: readonly Pod[]): Pod[] {
  return pods.filter(({ metadata, spec }) => {
    if (metadata.deletionTimestamp === undefined || !spec.nodeName) return false;
    return store.get("nodes", undefined, spec.nodeName) === undefined;
  });
}

/** Removes pods that are over beyond the `keep` newest, and deleted ones that no node will end. */
export async function collectTerminatedPods(
  store: Pick<Store, "get" | "list" | "delete">,
  keep: number,
): Promise<void> {
  const pods = store.list("pods").items.map(asPod);
  for (const { metadata } of [...tooMany(pods, keep), ...abandoned(store, pods)]) {
    const options = { gracePeriodSeconds: 0, preconditions: { uid: metadata.uid } };
    await store.delete("pods", metadata.namespace, metadata.name, options).catch((error: unknown) => {
      if (!isRefusal(error, 404, 409)) throw error;
    });
  }
}
