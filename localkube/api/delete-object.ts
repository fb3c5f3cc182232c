import type { KubeObject } from "../store/kube-object.ts";
import type { StoredObject } from "../store/object-table.ts";
import type { DeleteOptions } from "../store/store.ts";
import {
  type ApiCore,
  type ObjectPlace,
  requireStored,
  timestamp,
  toView,
  type WriteOptions,
} from "./api-core.ts";
import { conflict } from "./api-error.ts";
import { record, type WriteResult } from "./write-object.ts";

export const FOREGROUND = "foregroundDeletion";
export const ORPHAN = "orphan";

export interface DeleteResult extends WriteResult {
  /** False when the object stays until its finalizers or its grace period are done. */
  gone: boolean;
}

/**
 * Deletes an object, or begins to: with finalizers, a grace period or foreground propagation it only gets its
 * deletionTimestamp. Throws 404, and 409 when a precondition does not hold.
 */
export function deleteObject(
  core: ApiCore,
  place: ObjectPlace,
  request: DeleteOptions,
  options: WriteOptions,
): DeleteResult {
  const { definition } = place;
  const stored = requireStored(core, place);
  assertPreconditions(place, stored, request);
  const old = toView(definition, stored.object);
  definition.rules.beforeDelete?.(old);
  const finalizers = finalizersFor(old, request);
  const isNamespace = definition.storage === "namespaces";
  const grace = definition.storage === "pods" ? podGrace(old, request) : 0;
  const next: KubeObject = { ...old, metadata: { ...old.metadata } };
  if (finalizers.length > 0) next.metadata.finalizers = finalizers;
  else delete next.metadata.finalizers;

  const held = finalizers.length > 0 || grace > 0 || (isNamespace && hasContentFinalizer(old));
  if (!held) return { ...record(core, "DELETED", definition, next, options), gone: true };
  if (old.metadata.deletionTimestamp) {
    const sameGrace = (old.metadata.deletionGracePeriodSeconds ?? 0) <= grace;
    const sameFinalizers = finalizers.join() === (old.metadata.finalizers ?? []).join();
    if (sameGrace && sameFinalizers) return { object: old, stored: core.table.pending(), gone: false };
    if (!sameGrace) setDeletion(core, next, grace);
  } else {
    setDeletion(core, next, grace);
    if (definition.tracksGeneration) next.metadata.generation = (old.metadata.generation ?? 0) + 1;
    if (isNamespace) next.status = { ...next.status, phase: "Terminating" };
  }
  return { ...record(core, "MODIFIED", definition, next, options), gone: false };
}

function setDeletion(core: ApiCore, object: KubeObject, graceSeconds: number): void {
  object.metadata.deletionTimestamp = timestamp(core.nowMs() + graceSeconds * 1000);
  object.metadata.deletionGracePeriodSeconds = graceSeconds;
}

function assertPreconditions(place: ObjectPlace, stored: StoredObject, request: DeleteOptions): void {
  const { uid, resourceVersion } = request.preconditions ?? {};
  const { metadata } = stored.object;
  if (uid !== undefined && uid !== metadata.uid) {
    throw conflict(
      place.definition,
      place.name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${metadata.uid}`,
    );
  }
  if (resourceVersion !== undefined && resourceVersion !== String(stored.rv)) {
    throw conflict(
      place.definition,
      place.name,
      `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${stored.rv}`,
    );
  }
}

/** The finalizers that the propagation policy adds and removes. */
function finalizersFor(object: KubeObject, request: DeleteOptions): string[] {
  const others = (object.metadata.finalizers ?? []).filter((name) => name !== FOREGROUND && name !== ORPHAN);
  if (request.propagationPolicy === "Foreground") return [...others, FOREGROUND];
  if (request.propagationPolicy === "Orphan") return [...others, ORPHAN];
  if (request.propagationPolicy === "Background") return others;
  return object.metadata.finalizers ?? [];
}

const hasContentFinalizer = (object: KubeObject): boolean =>
  Array.isArray(object.spec?.finalizers) && object.spec.finalizers.length > 0;

const DEFAULT_GRACE_SECONDS = 30;

/** A pod that runs nowhere, or no more, needs no time to stop. */
function podGrace(pod: KubeObject, request: DeleteOptions): number {
  const phase = pod.status?.phase;
  if (!pod.spec?.nodeName || phase === "Succeeded" || phase === "Failed") return 0;
  if (request.gracePeriodSeconds !== undefined) return Math.max(0, request.gracePeriodSeconds);
  const own = pod.spec.terminationGracePeriodSeconds;
  return typeof own === "number" ? own : DEFAULT_GRACE_SECONDS;
}
