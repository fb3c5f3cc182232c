/**
 * Invariants:
 * 1. Reading the old state, checking and recording the new one happen in one synchronous stretch, so that no
 *    other write can come between: optimistic concurrency needs no retry here.
 * 2. A write that changes nothing records nothing and keeps the resourceVersion.
 * 3. What the server owns in metadata never comes from a client.
 */
import { recordUpdate } from "../patch/managed-fields.ts";
import { jsonEqual } from "../schema/plain-object.ts";
import type { KubeObject } from "../store/kube-object.ts";
import { objectKey, type StoredObject } from "../store/object-table.ts";
import { applyKindDefaults, assertValid, decodeBody, desiredStateDiffers } from "./admit.ts";
import {
  type ApiCore,
  type ObjectPlace,
  requireLiveNamespace,
  requireStored,
  timestamp,
  toView,
  type WriteOptions,
} from "./api-core.ts";
import {
  alreadyExists,
  badRequest,
  conflict,
  invalidField,
  invalidObject,
  MODIFIED_SINCE,
} from "./api-error.ts";
import { generatedName } from "./metadata-rules.ts";
import type { ResourceDefinition } from "./resource.ts";

export interface WriteResult {
  /** In the shape that was asked for. */
  object: KubeObject;
  /** Settles when it is on disk; undefined when nothing was written. */
  stored: Promise<void> | undefined;
}

/** Makes an object from a request body (already parsed). */
export function createObject(
  core: ApiCore,
  definition: ResourceDefinition,
  namespace: string | undefined,
  body: unknown,
  options: WriteOptions,
  bodyFaults: readonly string[] = [],
): WriteResult {
  const object = decodeBody(definition, body, options, bodyFaults);
  const { metadata } = object;
  placeInNamespace(definition, object, namespace);
  if (metadata.resourceVersion) {
    throw badRequest("resourceVersion should not be set on objects to be created");
  }
  if (!metadata.name && metadata.generateName) {
    do metadata.name = generatedName(metadata.generateName);
    while (core.table.get(definition.storage, objectKey(metadata.namespace, metadata.name)));
  }
  if (metadata.namespace !== undefined) {
    requireLiveNamespace(core, definition, metadata.namespace, metadata.name);
  }
  if (core.table.get(definition.storage, objectKey(metadata.namespace, metadata.name))) {
    throw alreadyExists(definition, metadata.name);
  }
  if (definition.statusSubresource) delete object.status;
  const { managedFields, ...given } = metadata;
  object.metadata = {
    ...given,
    uid: core.newUid(),
    resourceVersion: "",
    creationTimestamp: timestamp(core.nowMs()),
    ...(definition.tracksGeneration ? { generation: 1 } : {}),
    ...(managedFields && managedFields.length > 0 ? { managedFields } : {}),
  };
  if (!definition.tracksGeneration) delete object.metadata.generation;
  delete object.metadata.deletionTimestamp;
  delete object.metadata.deletionGracePeriodSeconds;
  applyKindDefaults(definition, object);
  definition.rules.onCreate?.(object);
  assertValid(definition, object, undefined);
  return record(core, "ADDED", definition, object, options);
}

function placeInNamespace(
  definition: ResourceDefinition,
  object: KubeObject,
  namespace: string | undefined,
): void {
  const { metadata } = object;
  if (!definition.namespaced) {
    delete metadata.namespace;
    return;
  }
  if (metadata.namespace && metadata.namespace !== namespace) {
    throw badRequest(`the namespace of the provided object does not match the namespace sent on the request`);
  }
  metadata.namespace = namespace ?? "";
}

/** Replaces the main resource (`part` "main") or its status from a request body. */
export function replaceObject(
  core: ApiCore,
  place: ObjectPlace,
  part: "main" | "status",
  body: unknown,
  options: WriteOptions,
  bodyFaults: readonly string[] = [],
): WriteResult {
  const { definition } = place;
  const stored = requireStored(core, place);
  const object = decodeBody(definition, body, options, bodyFaults);
  placeInNamespace(definition, object, place.namespace);
  const { metadata } = object;
  if (metadata.name && metadata.name !== place.name) {
    throw badRequest(
      `the name of the object (${metadata.name}) does not match the name on the URL (${place.name})`,
    );
  }
  metadata.name = place.name;
  assertCurrent(definition, object, stored, options);
  return storeReplacement(core, place, part, object, options);
}

/** Throws unless the version and uid that the writer saw are still the stored ones. */
function assertCurrent(
  definition: ResourceDefinition,
  object: KubeObject,
  stored: StoredObject,
  options: WriteOptions,
): void {
  const { metadata } = object;
  if (metadata.uid && metadata.uid !== stored.object.metadata.uid) {
    throw conflict(
      definition,
      metadata.name,
      `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${stored.object.metadata.uid}`,
    );
  }
  if (!metadata.resourceVersion) {
    if (!definition.custom || options.fieldManager.startsWith("localkube")) return;
    throw invalidObject(definition, metadata.name, [
      invalidField("metadata.resourceVersion", 0, "must be specified for an update"),
    ]);
  }
  if (metadata.resourceVersion !== String(stored.rv)) {
    throw conflict(definition, metadata.name, MODIFIED_SINCE);
  }
}

/**
 * Stores what a decoded object makes of the present one. `object` has passed its preconditions; fields that the
 * server owns, and the part that is not being written, are taken from the stored state.
 */
export function storeReplacement(
  core: ApiCore,
  place: ObjectPlace,
  part: "main" | "status",
  object: KubeObject,
  options: WriteOptions,
  ownership: "update" | "given" = "update",
): WriteResult {
  const { definition } = place;
  const old = toView(definition, requireStored(core, place).object);
  const next = part === "status" ? withStatusOf(old, object) : withMainOf(definition, old, object);
  if (part === "status" && ownership === "given")
    next.metadata.managedFields = object.metadata.managedFields ?? [];
  applyKindDefaults(definition, next);
  if (part === "main") definition.rules.onUpdate?.(next, old);
  if (ownership === "update") {
    recordUpdate(next, old, {
      definition,
      manager: options.fieldManager,
      subresource: part === "status" ? "status" : undefined,
      nowMs: core.nowMs(),
    });
  }
  if (next.metadata.managedFields?.length === 0) delete next.metadata.managedFields;
  if (definition.tracksGeneration && desiredStateDiffers(next, old)) {
    next.metadata.generation = (old.metadata.generation ?? 0) + 1;
  }
  assertValid(definition, next, old);
  if (jsonEqual(next, old)) return { object: old, stored: core.table.pending() };
  const gone = next.metadata.deletionTimestamp !== undefined && isFinished(next);
  return record(core, gone ? "DELETED" : "MODIFIED", definition, next, options);
}

/** Whether a deleted object has nothing left to wait for. */
function isFinished(object: KubeObject): boolean {
  if ((object.metadata.finalizers?.length ?? 0) > 0) return false;
  if ((object.metadata.deletionGracePeriodSeconds ?? 0) > 0) return false;
  const own = object.kind === "Namespace" && object.apiVersion === "v1" ? object.spec?.finalizers : undefined;
  return !(Array.isArray(own) && own.length > 0);
}

function withStatusOf(old: KubeObject, object: KubeObject): KubeObject {
  const next: KubeObject = { ...old, metadata: { ...old.metadata } };
  if (object.status === undefined) delete next.status;
  else next.status = object.status;
  return next;
}

function withMainOf(definition: ResourceDefinition, old: KubeObject, object: KubeObject): KubeObject {
  const next: KubeObject = { ...object, metadata: { ...object.metadata } };
  if (definition.statusSubresource) {
    if (old.status === undefined) delete next.status;
    else next.status = old.status;
  }
  const { metadata } = next;
  metadata.uid = old.metadata.uid;
  metadata.creationTimestamp = old.metadata.creationTimestamp;
  metadata.resourceVersion = old.metadata.resourceVersion;
  for (const field of [
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
  ] as const) {
    if (old.metadata[field] === undefined) delete metadata[field];
    else Object.assign(metadata, { [field]: old.metadata[field] });
  }
  for (const field of ["labels", "annotations"] as const) {
    if (metadata[field] && Object.keys(metadata[field]).length === 0) delete metadata[field];
  }
  for (const field of ["finalizers", "ownerReferences"] as const) {
    if (metadata[field]?.length === 0) delete metadata[field];
  }
  if (metadata.managedFields === undefined && old.metadata.managedFields) {
    metadata.managedFields = old.metadata.managedFields;
  }
  return next;
}

/** Gives the change its version and hands it to the table; a dry run stops short of that. */
export function record(
  core: ApiCore,
  type: "ADDED" | "MODIFIED" | "DELETED",
  definition: ResourceDefinition,
  object: KubeObject,
  options: WriteOptions,
): WriteResult {
  if (options.dryRun) {
    if (type === "ADDED") delete (object.metadata as Partial<KubeObject["metadata"]>).resourceVersion;
    return { object, stored: core.table.pending() };
  }
  object.metadata.resourceVersion = String(core.table.nextResourceVersion);
  const kept = inStoredShape(core, definition, object);
  return { object, stored: core.table.write(type, definition.storage, kept) };
}

function inStoredShape(core: ApiCore, definition: ResourceDefinition, object: KubeObject): KubeObject {
  if (definition.view) return definition.view.toStorage(object);
  const stored = core.registry.stored(definition.storage);
  return stored && stored !== definition ? toView(stored, object) : object;
}
