/**
 * Who set which field. Ownership is recorded from the first server-side apply of an object on; what was there
 * before belongs to the manager "before-first-apply", as on an API server that turns tracking on late.
 */
import { apiVersionOf, type ResourceDefinition } from "../api/resource.ts";
import type { KubeObject, ManagedFieldsEntry } from "../store/kube-object.ts";
import { changedFields, difference, type FieldSet, fieldsOf, union } from "./field-set.ts";

export interface UpdateOwnership {
  definition: ResourceDefinition;
  manager: string;
  subresource: "status" | undefined;
  nowMs: number;
}

/** What nobody owns: identity and what the server itself keeps. */
const UNOWNED: FieldSet = {
  "f:apiVersion": {},
  "f:kind": {},
  "f:metadata": Object.fromEntries(
    [
      "name",
      "namespace",
      "uid",
      "resourceVersion",
      "generation",
      "creationTimestamp",
      "selfLink",
      "deletionTimestamp",
      "deletionGracePeriodSeconds",
      "managedFields",
      "generateName",
    ].map((name) => [`f:${name}`, {}]),
  ),
};

export const ownable = (set: FieldSet): FieldSet => difference(set, UNOWNED);

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- FieldsV1 is a tree of objects by its definition
export const fieldsOfEntry = (entry: ManagedFieldsEntry): FieldSet => (entry.fieldsV1 ?? {}) as FieldSet;

export const isEmptySet = (set: FieldSet): boolean => Object.keys(set).length === 0;

/** A fresh entry for a manager. */
export function entry(
  ownership: UpdateOwnership,
  operation: "Apply" | "Update",
  fields: FieldSet,
): ManagedFieldsEntry {
  return {
    manager: ownership.manager,
    operation,
    apiVersion: apiVersionOf(ownership.definition),
    time: `${new Date(ownership.nowMs).toISOString().slice(0, 19)}Z`,
    fieldsType: "FieldsV1",
    fieldsV1: fields,
    ...(ownership.subresource ? { subresource: ownership.subresource } : {}),
  };
}

export const isSameManager = (
  candidate: ManagedFieldsEntry,
  ownership: UpdateOwnership,
  operation: "Apply" | "Update",
): boolean =>
  candidate.manager === ownership.manager &&
  candidate.operation === operation &&
  (candidate.subresource ?? "") === (ownership.subresource ?? "");

/**
 * Gives the fields that an ordinary write changed to its writer, in `next.metadata.managedFields`. Does nothing for
 * objects that no one has applied yet.
 */
export function recordUpdate(next: KubeObject, old: KubeObject, ownership: UpdateOwnership): void {
  const entries = next.metadata.managedFields;
  if (!entries || entries.length === 0) return;
  const { schema } = ownership.definition;
  const changed = ownable(changedFields(schema, old, next));
  const present = fieldsOf(schema, next);
  const result: ManagedFieldsEntry[] = [];
  let own: FieldSet = changed;
  for (const candidate of entries) {
    if (isSameManager(candidate, ownership, "Update")) {
      own = union(within(fieldsOfEntry(candidate), present), changed);
      continue;
    }
    const left = within(difference(fieldsOfEntry(candidate), changed), present);
    if (!isEmptySet(left)) result.push({ ...candidate, fieldsV1: left });
  }
  if (!isEmptySet(own)) result.push(entry(ownership, "Update", own));
  next.metadata.managedFields = result;
}

/** The part of a set whose fields still exist. */
export function within(set: FieldSet, present: FieldSet): FieldSet {
  const result: FieldSet = {};
  for (const [step, inner] of Object.entries(set)) {
    if (step === ".") {
      result[step] = inner;
      continue;
    }
    const there = present[step];
    if (there === undefined) continue;
    if (isEmptySet(inner)) result[step] = inner;
    else {
      const kept = within(inner, there);
      if (!isEmptySet(kept)) result[step] = kept;
    }
  }
  return result;
}

/** Managed fields without the time, to tell whether an apply changed anything. */
export const withoutTimes = (entries: readonly ManagedFieldsEntry[] | undefined): unknown[] =>
  (entries ?? []).map((candidate) => {
    const { time: _time, ...rest } = candidate;
    return rest;
  });
