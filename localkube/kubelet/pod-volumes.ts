import { join } from "node:path";
import { note } from "./container-life.ts";
import { errorText } from "./error-text.ts";
import type { KubeletContext } from "./kubelet-context.ts";
import type { Pod } from "./pod.ts";
import { allContainers, type PodState, placeOf } from "./pod-state.ts";
import { prepareVolumes, volumeSources } from "./volumes.ts";

/** Brings the files of a running pod's volumes up to date; what is missing now keeps its last content. */
export function refreshVolumes(state: PodState, context: KubeletContext): void {
  if (state.podIP === undefined) return;
  const volumesDir = join(context.folders(state.pod).podDir, "volumes");
  try {
    prepareVolumes({ pod: state.pod, place: placeOf(state, context), sources: context.sources, volumesDir });
  } catch (error) {
    const first = state.main[0];
    if (first) note(state, first, context, "Warning", "FailedMount", errorText(error));
  }
}

function metadataText({ metadata: { labels, annotations } }: Pod): string {
  return JSON.stringify([labels, annotations]);
}

/** Whether labels or annotations that the pod's volumes may show differ between the two. */
export function showsMetadata(next: Pod, before: Pod): boolean {
  const shows = (next.spec.volumes ?? []).some(
    ({ downwardAPI, projected }) =>
      downwardAPI !== undefined || projected?.sources?.some((source) => source.downwardAPI),
  );
  return shows && metadataText(next) !== metadataText(before);
}

/**
 * Deals with a changed Secret or ConfigMap (`secret/<name>`): shows it in the volumes that have it and lets containers that wait for
 * something missing try again at once. Whether any does.
 */
export function unblock(state: PodState, context: KubeletContext, source: string): boolean {
  if (volumeSources(state.pod).has(source)) refreshVolumes(state, context);
  let any = false;
  for (const { phase } of allContainers(state)) {
    if (phase.is !== "waiting" || phase.reason.includes("Image")) continue;
    phase.untilMs = 0;
    any = true;
  }
  return any;
}
