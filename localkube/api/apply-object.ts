import {
  changedFields,
  difference,
  type FieldSet,
  fieldsOf,
  intersection,
  leafPaths,
  overlay,
  removeFields,
  union,
} from "../patch/field-set.ts";
import {
  entry,
  fieldsOfEntry,
  isEmptySet,
  isSameManager,
  ownable,
  type UpdateOwnership,
  within,
  withoutTimes,
} from "../patch/managed-fields.ts";
import { isPlainObject, jsonEqual, type PlainObject } from "../schema/plain-object.ts";
import type { KubeObject, ManagedFieldsEntry } from "../store/kube-object.ts";
import { objectKey } from "../store/object-table.ts";
import { decodeBody } from "./admit.ts";
import { type ApiCore, type ObjectPlace, toView, type WriteOptions } from "./api-core.ts";
import { ApiError, badRequest, conflict, MODIFIED_SINCE, notFound } from "./api-error.ts";
import type { PatchRequest, PatchResult } from "./patch-object.ts";
import { apiVersionOf } from "./resource.ts";
import { createObject, storeReplacement } from "./write-object.ts";

/** Server-side apply: merges a configuration into the object and keeps track of who set what. */
export function applyConfiguration(
  core: ApiCore,
  place: ObjectPlace,
  request: PatchRequest,
  options: WriteOptions,
): PatchResult {
  const { definition } = place;
  const configuration = decodeConfiguration(place, request, options);
  const ownership: UpdateOwnership = {
    definition,
    manager: options.fieldManager,
    subresource: request.part === "status" ? "status" : undefined,
    nowMs: core.nowMs(),
  };
  const stored = core.table.get(definition.storage, objectKey(place.namespace, place.name));
  const applied = appliedFields(definition.schema, configuration, request.part);
  if (!stored) {
    if (request.part === "status") throw notFound(definition, place.name);
    const managedFields = [entry(ownership, "Apply", applied)];
    const body = { ...configuration, metadata: { ...configuration.metadata, managedFields } };
    return { ...createObject(core, definition, place.namespace, body, options), created: true };
  }
  const live = toView(definition, stored.object);
  const { resourceVersion, uid } = configuration.metadata;
  if ((resourceVersion && resourceVersion !== String(stored.rv)) || (uid && uid !== live.metadata.uid)) {
    throw conflict(definition, place.name, MODIFIED_SINCE);
  }
  const others = otherEntries(live, ownership);
  const changed = intersection(
    applied,
    ownable(changedFields(definition.schema, live, { ...live, ...lay(place, live, configuration) })),
  );
  if (!request.force) assertNoConflict(place, changed, others);
  const merged = mergeConfiguration(place, live, configuration, applied, ownership);
  merged.metadata.managedFields = [
    ...entriesAfter(others, request.force ? changed : {}, fieldsOf(definition.schema, merged)),
    entry(ownership, "Apply", applied),
  ];
  if (unchanged(merged, live)) return { object: live, stored: core.table.pending(), created: false };
  return { ...storeReplacement(core, place, request.part, merged, options, "given"), created: false };
}

function decodeConfiguration(place: ObjectPlace, request: PatchRequest, options: WriteOptions): KubeObject {
  const { definition } = place;
  if (!isPlainObject(request.patch)) throw badRequest("an applied configuration must be an object");
  if (request.patch.apiVersion !== apiVersionOf(definition) || request.patch.kind !== definition.kind) {
    throw badRequest(
      `the applied configuration must have apiVersion "${apiVersionOf(definition)}" and kind "${definition.kind}"`,
    );
  }
  const configuration = decodeBody(definition, request.patch, options);
  const { metadata } = configuration;
  if (metadata.managedFields) throw badRequest("metadata.managedFields must be nil");
  if (metadata.name && metadata.name !== place.name) {
    throw badRequest(
      `the name of the object (${metadata.name}) does not match the name on the URL (${place.name})`,
    );
  }
  metadata.name = place.name;
  if (definition.namespaced) metadata.namespace ??= place.namespace ?? "";
  return configuration;
}

function appliedFields(
  schema: ObjectPlace["definition"]["schema"],
  configuration: KubeObject,
  part: "main" | "status",
): FieldSet {
  const { status, ...main } = configuration;
  if (part === "status") return ownable(fieldsOf(schema, { status }));
  return ownable(fieldsOf(schema, status === undefined ? main : { ...main, status }));
}

/** Entries of the other managers; everything there is belongs to "before-first-apply" if nothing is tracked yet. */
function otherEntries(live: KubeObject, ownership: UpdateOwnership): ManagedFieldsEntry[] {
  const entries = live.metadata.managedFields ?? [];
  if (entries.length > 0) return entries.filter((candidate) => !isSameManager(candidate, ownership, "Apply"));
  const all = ownable(fieldsOf(ownership.definition.schema, live));
  return isEmptySet(all)
    ? []
    : [entry({ ...ownership, manager: "before-first-apply", subresource: undefined }, "Update", all)];
}

function lay(place: ObjectPlace, live: KubeObject, configuration: KubeObject): PlainObject {
  const result = overlay(place.definition.schema, live, configuration);
  return isPlainObject(result) ? result : {};
}

function assertNoConflict(
  place: ObjectPlace,
  changed: FieldSet,
  others: readonly ManagedFieldsEntry[],
): void {
  const causes = others.flatMap((other) =>
    leafPaths(intersection(changed, fieldsOfEntry(other))).map((field) => ({ manager: other, field })),
  );
  if (causes.length === 0) return;
  const lines = causes.map(
    ({ manager, field }) =>
      `conflict with "${manager.manager}"${manager.operation === "Update" ? ` using ${manager.apiVersion}` : ""}: ${field}`,
  );
  throw new ApiError(
    409,
    "Conflict",
    `Apply failed with ${causes.length} conflict${causes.length === 1 ? "" : "s"}: ${
      lines.length === 1 ? lines[0] : `conflicts:\n- ${lines.join("\n- ")}`
    }`,
    {
      name: place.name,
      group: place.definition.group,
      kind: place.definition.plural,
      causes: causes.map(({ manager, field }) => ({
        reason: "FieldManagerConflict",
        message: `conflict with "${manager.manager}"${manager.operation === "Update" ? ` using ${manager.apiVersion}` : ""}`,
        field,
      })),
    },
  );
}

/** The live object with the configuration laid over it and with what the manager no longer sets taken out. */
function mergeConfiguration(
  place: ObjectPlace,
  live: KubeObject,
  configuration: KubeObject,
  applied: FieldSet,
  ownership: UpdateOwnership,
): KubeObject {
  const { schema } = place.definition;
  const entries = live.metadata.managedFields ?? [];
  const mine = entries.find((candidate) => isSameManager(candidate, ownership, "Apply"));
  const merged = structuredClone({ ...live, ...lay(place, live, configuration) });
  if (mine) {
    const dropped = difference(fieldsOfEntry(mine), applied);
    let shared: FieldSet = {};
    for (const other of entries) if (other !== mine) shared = union(shared, fieldsOfEntry(other));
    removeFields(schema, merged, difference(dropped, shared));
  }
  merged.metadata = {
    ...merged.metadata,
    uid: live.metadata.uid,
    resourceVersion: live.metadata.resourceVersion,
  };
  return merged;
}

/** The other managers' entries once `taken` went to the applier and what no longer exists is gone. */
function entriesAfter(
  others: readonly ManagedFieldsEntry[],
  taken: FieldSet,
  present: FieldSet,
): ManagedFieldsEntry[] {
  return others
    .map((other) => ({ ...other, fieldsV1: within(difference(fieldsOfEntry(other), taken), present) }))
    .filter((other) => !isEmptySet(other.fieldsV1));
}

function unchanged(merged: KubeObject, live: KubeObject): boolean {
  const strip = (object: KubeObject): unknown => ({
    ...object,
    metadata: { ...object.metadata, managedFields: withoutTimes(object.metadata.managedFields) },
  });
  return jsonEqual(strip(merged), strip(live));
}
