import { LABEL_FUNCTION_NAME, LABEL_REVISION } from "../api/names.ts";
import type { Pod } from "./core.ts";
import type { Informer } from "./informer.ts";

/** Whose a pod is, as its labels say; empty for one that serves no function. */
export interface PodFacts {
  readonly function: string;
  readonly revision: string;
}

/** Index that an informer of pods needs for `podFactsByUid`. */
export const PODS_BY_UID = { uid: (pod: Pod) => [pod.metadata.uid ?? ""] };

export const podFactsOf = ({ metadata: { labels } }: Pod): PodFacts => ({
  function: labels?.[LABEL_FUNCTION_NAME] ?? "",
  revision: labels?.[LABEL_REVISION] ?? "",
});

/** Looks facts up by UID, also of the last `maxDeparted` pods that are gone, since their last lines come late. */
export function podFactsByUid(
  pods: Pick<Informer<Pod>, "subscribe" | "byIndex">,
  maxDeparted: number,
): (uid: string) => PodFacts | undefined {
  const departed = new Map<string, PodFacts>();
  pods.subscribe({
    onDelete: (pod) => {
      departed.set(pod.metadata.uid ?? "", podFactsOf(pod));
      for (const uid of departed.keys()) {
        if (departed.size <= maxDeparted) break;
        departed.delete(uid);
      }
    },
  });
  return (uid) => {
    const pod = pods.byIndex("uid", uid)[0];
    return pod ? podFactsOf(pod) : departed.get(uid);
  };
}
