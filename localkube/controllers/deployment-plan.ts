import { createHash } from "node:crypto";
import { canonicalJson, type Deployment, type PodTemplate, type ReplicaSet } from "./workload.ts";

export const REVISION = "deployment.kubernetes.io/revision";
export const DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas";
export const MAX_REPLICAS = "deployment.kubernetes.io/max-replicas";
export const TEMPLATE_HASH = "pod-template-hash";

const SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789";
const HASH_LENGTH = 10;

/** A short name for a pod template, the same for the same content. */
export function templateHash(template: PodTemplate, collisionCount: number): string {
  const digest = createHash("sha256")
    .update(`${canonicalJson(template)}#${collisionCount}`)
    .digest();
  return Array.from(digest.subarray(0, HASH_LENGTH), (byte) => SAFE_LETTERS[byte % SAFE_LETTERS.length]).join(
    "",
  );
}

function withoutHash(template: PodTemplate): PodTemplate {
  const { [TEMPLATE_HASH]: _hash, ...labels } = template.metadata?.labels ?? {};
  return { ...template, metadata: { ...template.metadata, labels } };
}

export function sameTemplate(left: PodTemplate, right: PodTemplate): boolean {
  return canonicalJson(withoutHash(left)) === canonicalJson(withoutHash(right));
}

function resolve(value: number | string, total: number, round: (value: number) => number): number {
  if (typeof value === "number") return value;
  return value.endsWith("%") ? round((Number.parseFloat(value) * total) / 100) : Number.parseInt(value, 10);
}

export interface Bounds {
  replicas: number;
  /** How many pods may exist above `replicas`. */
  surge: number;
  /** How many of `replicas` may be missing. */
  unavailable: number;
}

/** The limits of a rolling update; where both would be 0, one pod may be missing, since nothing could move otherwise. */
export function boundsOf({ spec }: Deployment): Bounds {
  const replicas = spec.replicas ?? 1;
  if (spec.strategy?.type === "Recreate") return { replicas, surge: 0, unavailable: replicas };
  const { maxSurge = "25%", maxUnavailable = "25%" } = spec.strategy?.rollingUpdate ?? {};
  const surge = resolve(maxSurge, replicas, Math.ceil);
  const unavailable = Math.min(resolve(maxUnavailable, replicas, Math.floor), replicas);
  return { replicas, surge, unavailable: surge === 0 && unavailable === 0 ? 1 : unavailable };
}

export function wanted(set: ReplicaSet): number {
  return set.spec.replicas ?? 1;
}

export function wantedTotal(sets: readonly ReplicaSet[]): number {
  return sets.reduce((sum, set) => sum + wanted(set), 0);
}

function available(set: ReplicaSet): number {
  return set.status?.availableReplicas ?? 0;
}

export function revisionOf(object: { metadata: { annotations?: Record<string, string> } }): number {
  return Number(object.metadata.annotations?.[REVISION] ?? 0);
}

function oldestFirst(sets: readonly ReplicaSet[]): ReplicaSet[] {
  return sets.toSorted(
    (left, right) =>
      revisionOf(left) - revisionOf(right) || (left.metadata.name < right.metadata.name ? -1 : 1),
  );
}

/** New sizes by ReplicaSet name. */
export type Scaling = Map<string, number>;

/** How many replicas the new ReplicaSet may have now. */
export function newSetSize(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  all: readonly ReplicaSet[],
): number {
  const { replicas, surge } = boundsOf(deployment);
  const now = newSet ? wanted(newSet) : 0;
  if (deployment.spec.strategy?.type === "Recreate" || now >= replicas) return replicas;
  const room = replicas + surge - wantedTotal(all);
  return room <= 0 ? now : now + Math.min(room, replicas - now);
}

/** Sizes of the old ReplicaSets after this round of a rolling update: unhealthy pods go first, then as many as availability allows. */
export function shrinkOldSets(
  deployment: Deployment,
  newSet: ReplicaSet,
  old: readonly ReplicaSet[],
): Scaling {
  const { replicas, unavailable } = boundsOf(deployment);
  const scaling: Scaling = new Map();
  const minAvailable = replicas - unavailable;
  const all = [...old, newSet];
  const newUnavailable = wanted(newSet) - available(newSet);
  let removable = wantedTotal(all) - minAvailable - newUnavailable;
  if (removable <= 0) return scaling;
  const sizes = new Map(old.map((set) => [set.metadata.name, wanted(set)]));
  for (const set of oldestFirst(old)) {
    const unhealthy = Math.max(0, wanted(set) - available(set));
    const drop = Math.min(unhealthy, removable);
    sizes.set(set.metadata.name, wanted(set) - drop);
    removable -= drop;
  }
  let spare = all.reduce((sum, set) => sum + available(set), 0) - minAvailable;
  for (const set of oldestFirst(old)) {
    const size = sizes.get(set.metadata.name) ?? 0;
    const drop = Math.max(0, Math.min(size, spare));
    sizes.set(set.metadata.name, size - drop);
    spare -= drop;
  }
  for (const set of old) {
    const size = sizes.get(set.metadata.name) ?? 0;
    if (size !== wanted(set)) scaling.set(set.metadata.name, size);
  }
  return scaling;
}

/**
 * Sizes after the wanted number changed in the middle of a rollout, or while it is paused: the change is shared out over the
 * ReplicaSets by their sizes, so that the rollout stays where it is.
 */
export function scaleInProportion(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  all: readonly ReplicaSet[],
): Scaling {
  const { replicas, surge } = boundsOf(deployment);
  const scaling: Scaling = new Map();
  const active = all.filter((set) => wanted(set) > 0);
  const only = active.length === 0 ? (newSet ?? oldestFirst(all).at(-1)) : active[0];
  if (active.length <= 1) {
    if (only) scaling.set(only.metadata.name, replicas);
    return scaling;
  }
  const total = wantedTotal(active);
  const goal = replicas > 0 ? replicas + surge : 0;
  let change = goal - total;
  const bySize = active.toSorted(
    (left, right) => wanted(right) - wanted(left) || revisionOf(right) - revisionOf(left),
  );
  for (const set of bySize) {
    const before = Number(set.metadata.annotations?.[MAX_REPLICAS] ?? total) || total;
    const share = Math.round((wanted(set) * goal) / before) - wanted(set);
    const part = change > 0 ? Math.min(Math.max(share, 0), change) : Math.max(Math.min(share, 0), change);
    scaling.set(set.metadata.name, Math.max(0, wanted(set) + part));
    change -= part;
  }
  const largest = bySize[0];
  if (change !== 0 && largest) {
    const size = (scaling.get(largest.metadata.name) ?? wanted(largest)) + change;
    scaling.set(largest.metadata.name, Math.max(0, size));
  }
  return scaling;
}

/** Old ReplicaSets that are empty and beyond the history limit. */
export function beyondHistory(deployment: Deployment, old: readonly ReplicaSet[]): ReplicaSet[] {
  const limit = deployment.spec.revisionHistoryLimit ?? 10;
  const empty = old.filter(
    (set) =>
      wanted(set) === 0 && (set.status?.replicas ?? 0) === 0 && set.metadata.deletionTimestamp === undefined,
  );
  return oldestFirst(empty).slice(0, Math.max(0, empty.length - limit));
}
