/**
 * Removes what an owner leaves behind.
 *
 * Invariants:
 * 1. An object goes only when every owner it names is gone, or being deleted in the foreground.
 * 2. Work is derived from stored state alone: after a crash one scan finds all that is left to do.
 * 3. An owner deleted in the foreground stays until the dependents that block it are gone; one deleted with
 *    orphaning stays until no dependent names it.
 */
import { type ApiCore, internalWrite, toView } from "../api/api-core.ts";
import { deleteObject, FOREGROUND, ORPHAN } from "../api/delete-object.ts";
import { storeReplacement } from "../api/write-object.ts";
import type { KubeObject, OwnerReference } from "../store/kube-object.ts";
import type { TableEvent } from "../store/object-table.ts";
import { type PassQueue, passQueue } from "./pass-queue.ts";

const WRITER = internalWrite("localkube-gc");

interface Collector {
  core: ApiCore;
  /** Owner's uid → uids of what names it as an owner. */
  dependents: Map<string, Set<string>>;
  queue: PassQueue;
}

/** Starts collecting; returns the function that stops it. */
export function startGarbageCollector(core: ApiCore, log: (message: string) => void): () => void {
  const collector: Collector = {
    core,
    dependents: new Map(),
    queue: passQueue((uid) => visit(collector, uid), log),
  };
  for (const resource of core.table.resources()) {
    for (const stored of core.table.list(resource)) note(collector, stored.object, undefined);
  }
  const end = core.table.observe((event) => onEvent(collector, event));
  return () => {
    end();
    collector.queue.stop();
  };
}

const owners = (object: KubeObject | undefined): readonly OwnerReference[] =>
  object?.metadata.ownerReferences ?? [];

function onEvent(collector: Collector, event: TableEvent): void {
  const object = event.current.object;
  const { uid } = object.metadata;
  if (event.type !== "DELETED") {
    note(collector, object, event.previous?.object);
    return;
  }
  for (const owner of owners(event.previous?.object ?? object)) {
    forget(collector, owner.uid, uid);
    collector.queue.add(owner.uid);
  }
  for (const dependent of collector.dependents.get(uid) ?? []) collector.queue.add(dependent);
}

function note(collector: Collector, object: KubeObject, previous: KubeObject | undefined): void {
  const { uid, deletionTimestamp } = object.metadata;
  for (const owner of owners(previous)) forget(collector, owner.uid, uid);
  for (const owner of owners(object)) {
    const set = collector.dependents.get(owner.uid) ?? new Set();
    collector.dependents.set(owner.uid, set.add(uid));
  }
  // An unchanged list of owners has been looked at before.
  if (owners(object).length > 0 && !previous) collector.queue.add(uid);
  if (
    previous &&
    owners(object).length > 0 &&
    previous.metadata.ownerReferences !== object.metadata.ownerReferences
  ) {
    collector.queue.add(uid);
  }
  if (deletionTimestamp) collector.queue.add(uid);
}

function forget(collector: Collector, owner: string, dependent: string): void {
  const set = collector.dependents.get(owner);
  set?.delete(dependent);
  if (set?.size === 0) collector.dependents.delete(owner);
}

function visit(collector: Collector, uid: string): void {
  const object = collector.core.table.byUid(uid)?.stored.object;
  if (!object) return;
  const finalizers = object.metadata.finalizers ?? [];
  if (object.metadata.deletionTimestamp && finalizers.includes(ORPHAN)) orphanDependents(collector, object);
  else if (object.metadata.deletionTimestamp && finalizers.includes(FOREGROUND))
    deleteDependents(collector, object);
  if (owners(object).length > 0) judge(collector, object);
}

const isLeavingInForeground = (owner: KubeObject): boolean =>
  owner.metadata.deletionTimestamp !== undefined && (owner.metadata.finalizers ?? []).includes(FOREGROUND);

/** Decides about an object with owners. */
function judge(collector: Collector, object: KubeObject): void {
  const standing: OwnerReference[] = [];
  let leaving = 0;
  for (const reference of owners(object)) {
    const owner = collector.core.table.byUid(reference.uid)?.stored.object;
    const isReachable =
      owner &&
      (owner.metadata.namespace === undefined || owner.metadata.namespace === object.metadata.namespace);
    if (!isReachable) continue;
    if (isLeavingInForeground(owner)) leaving++;
    else standing.push(reference);
  }
  if (standing.length === owners(object).length) return;
  if (standing.length > 0) {
    rewrite(collector, object, (copy) => {
      copy.metadata.ownerReferences = standing;
    });
    return;
  }
  if (object.metadata.deletionTimestamp) return;
  const hasDependents = (collector.dependents.get(object.metadata.uid)?.size ?? 0) > 0;
  const propagationPolicy = leaving > 0 && hasDependents ? "Foreground" : "Background";
  const place = placeOf(collector, object);
  if (place)
    deleteObject(
      collector.core,
      place,
      { propagationPolicy, preconditions: { uid: object.metadata.uid } },
      WRITER,
    );
}

function deleteDependents(collector: Collector, owner: KubeObject): void {
  let blocking = 0;
  for (const uid of new Set(collector.dependents.get(owner.metadata.uid))) {
    const dependent = collector.core.table.byUid(uid)?.stored.object;
    if (!dependent) continue;
    if (owners(dependent).some((each) => each.uid === owner.metadata.uid && each.blockOwnerDeletion))
      blocking++;
    if (!dependent.metadata.deletionTimestamp) judge(collector, dependent);
  }
  if (blocking === 0) removeFinalizer(collector, owner, FOREGROUND);
}

function orphanDependents(collector: Collector, owner: KubeObject): void {
  const { uid } = owner.metadata;
  for (const dependentUid of new Set(collector.dependents.get(uid))) {
    const dependent = collector.core.table.byUid(dependentUid)?.stored.object;
    if (!dependent) continue;
    rewrite(collector, dependent, (copy) => {
      copy.metadata.ownerReferences = owners(copy).filter((each) => each.uid !== uid);
    });
  }
  removeFinalizer(collector, owner, ORPHAN);
}

const removeFinalizer = (collector: Collector, object: KubeObject, finalizer: string): void =>
  rewrite(collector, object, (copy) => {
    copy.metadata.finalizers = (copy.metadata.finalizers ?? []).filter((each) => each !== finalizer);
  });

function rewrite(collector: Collector, object: KubeObject, change: (copy: KubeObject) => void): void {
  const place = placeOf(collector, object);
  if (!place) return;
  const copy = structuredClone(object);
  change(copy);
  storeReplacement(collector.core, place, "main", toView(place.definition, copy), WRITER);
}

function placeOf(collector: Collector, object: KubeObject) {
  const found = collector.core.table.byUid(object.metadata.uid);
  const definition = found && collector.core.registry.stored(found.resource);
  if (!definition) return undefined;
  return { definition, namespace: object.metadata.namespace, name: object.metadata.name };
}
