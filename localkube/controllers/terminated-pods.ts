import { isRefusal } from "../kubelet/error-text.ts";
import { asPod, isTerminal } from "../kubelet/pod.ts";
import type { Store } from "../store/store.ts";

/** Deletes the oldest pods that are over, beyond the `keep` newest. */
export async function collectTerminatedPods(store: Store, keep: number): Promise<void> {
  const over = store
    .list("pods")
    .items.map(asPod)
    .filter((pod) => isTerminal(pod) && pod.metadata.deletionTimestamp === undefined)
    .sort((left, right) => left.metadata.creationTimestamp.localeCompare(right.metadata.creationTimestamp));
  for (const { metadata } of over.slice(0, Math.max(0, over.length - keep))) {
    const options = { gracePeriodSeconds: 0, preconditions: { uid: metadata.uid } };
    await store.delete("pods", metadata.namespace, metadata.name, options).catch((error: unknown) => {
      if (!isRefusal(error, 404, 409)) throw error;
    });
  }
}
