import { canonicalJson, isPlainObject, jsonEqual, type PlainObject } from "../schema/plain-object.ts";
import { childSchema, resolve, type Schema } from "../schema/schema.ts";
import type { JsonObject } from "../store/kube-object.ts";

/**
 * A set of fields in the `FieldsV1` notation: `f:name` is a property, `k:{...}` the list item with these keys,
 * `v:...` the item of a set, `.` the element itself.
 */
export type FieldSet = { [step: string]: FieldSet };

const SELF = ".";

const listKeys = (schema: Schema | undefined): readonly string[] | undefined => {
  if (schema?.type !== "array") return undefined;
  if (schema["x-kubernetes-list-type"] === "map") return schema["x-kubernetes-list-map-keys"] ?? [];
  // Built-in lists without the marker, but with a strategic merge key, are maps by that key.
  const mergeKey = schema["x-kubernetes-patch-merge-key"];
  return schema["x-kubernetes-list-type"] === undefined && mergeKey ? [mergeKey] : undefined;
};

const isSet = (schema: Schema | undefined): boolean =>
  schema?.["x-kubernetes-list-type"] === "set" ||
  (schema?.["x-kubernetes-list-type"] === undefined &&
    schema?.["x-kubernetes-patch-strategy"] === "merge" &&
    schema["x-kubernetes-patch-merge-key"] === undefined);

const itemStep = (item: unknown, keys: readonly string[], items: Schema | undefined): string =>
  `k:${canonicalJson(
    Object.fromEntries(
      keys.map((key) => [
        key,
        (isPlainObject(item) ? item[key] : undefined) ?? childSchema(items, key)?.default ?? defaultKey(key),
      ]),
    ),
  )}`;

/** The protocol is the one list key of built-in kinds that has a default. */
const defaultKey = (key: string): unknown => (key === "protocol" ? "TCP" : undefined);

const isAtomic = (schema: Schema | undefined): boolean =>
  schema?.["x-kubernetes-map-type"] === "atomic" || schema?.["x-kubernetes-list-type"] === "atomic";

/** A value as the steps below it; undefined when it is owned as a whole. */
export function children(
  schema: Schema | undefined,
  value: unknown,
): [string, unknown, Schema | undefined][] | undefined {
  if (isAtomic(schema)) return undefined;
  if (isPlainObject(value)) {
    return Object.entries(value).map(([key, item]) => [`f:${key}`, item, childSchema(schema, key)]);
  }
  if (!Array.isArray(value)) return undefined;
  const items = schema?.items && resolve(schema.items);
  const keys = listKeys(schema);
  if (keys) return value.map((item: unknown) => [itemStep(item, keys, items), item, items]);
  if (isSet(schema)) return value.map((item: unknown) => [`v:${canonicalJson(item)}`, item, items]);
  return undefined;
}

/** All fields that a value specifies. */
export function fieldsOf(schema: Schema | undefined, value: unknown): FieldSet {
  const below = children(schema, value);
  const set: FieldSet = {};
  for (const [step, item, child] of below ?? []) {
    const inner = step.startsWith("v:") ? {} : fieldsOf(child, item);
    if (step.startsWith("k:")) inner[SELF] = {};
    set[step] = inner;
  }
  return set;
}

/** Fields of `value` that are new or different from `old`. */
export function changedFields(schema: Schema | undefined, old: unknown, value: unknown): FieldSet {
  const below = children(schema, value);
  if (!below) return {};
  const before = new Map((children(schema, old) ?? []).map(([step, item]) => [step, item]));
  const set: FieldSet = {};
  for (const [step, item, child] of below) {
    if (!before.has(step)) {
      const inner = step.startsWith("v:") ? {} : fieldsOf(child, item);
      if (step.startsWith("k:")) inner[SELF] = {};
      set[step] = inner;
    } else if (!jsonEqual(before.get(step), item)) {
      const inner = changedFields(child, before.get(step), item);
      if (Object.keys(inner).length > 0) set[step] = inner;
      else if (!children(child, item) || !children(child, before.get(step))) set[step] = {};
    }
  }
  return set;
}

const isLeaf = (set: FieldSet): boolean => Object.keys(set).length === 0;

export function union(a: FieldSet, b: FieldSet): FieldSet {
  const result: FieldSet = { ...a };
  for (const [step, inner] of Object.entries(b)) result[step] = union(result[step] ?? {}, inner);
  return result;
}

/** What of `a` is not in `b`; a leaf of `b` takes the whole of what `a` has below it. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  const result: FieldSet = {};
  for (const [step, inner] of Object.entries(a)) {
    const other = b[step];
    if (other === undefined) result[step] = inner;
    else if (!isLeaf(other) && !isLeaf(inner)) {
      const rest = difference(inner, other);
      if (!isLeaf(rest)) result[step] = rest;
    }
  }
  return result;
}

/** Leaves of `a` that `b` owns too, or whose whole it owns. */
export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const result: FieldSet = {};
  for (const [step, inner] of Object.entries(a)) {
    const other = b[step];
    if (other === undefined) continue;
    if (isLeaf(inner) || isLeaf(other)) {
      if (isLeaf(inner) === isLeaf(other) || isLeaf(other)) result[step] = inner;
    } else {
      const common = intersection(inner, other);
      if (!isLeaf(common)) result[step] = common;
    }
  }
  return result;
}

/** Leaf paths as messages show them: `.spec.replicas`, `.spec.containers[name="a"].image`. */
export function leafPaths(set: FieldSet, path = ""): string[] {
  return Object.entries(set).flatMap(([step, inner]) => {
    if (step === SELF) return [];
    const at = path + shownStep(step);
    const rest = Object.keys(inner).filter((key) => key !== SELF);
    return rest.length === 0 ? [at] : leafPaths(inner, at);
  });
}

function shownStep(step: string): string {
  if (step.startsWith("f:")) return `.${step.slice(2)}`;
  if (step.startsWith("v:")) return `[=${step.slice(2)}]`;
  const keys: JsonObject = JSON.parse(step.slice(2));
  return `[${Object.entries(keys)
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join(",")}]`;
}

/** Removes from `value` the fields of `set`, in place; items and maps that become empty go as well. */
export function removeFields(schema: Schema | undefined, value: unknown, set: FieldSet): void {
  if (isPlainObject(value)) {
    for (const [step, inner] of Object.entries(set)) {
      const key = step.slice(2);
      if (!step.startsWith("f:") || !Object.hasOwn(value, key)) continue;
      removeBelow(value, key, childSchema(schema, key), inner);
    }
    return;
  }
  if (!Array.isArray(value)) return;
  const steps = children(schema, value) ?? [];
  const kept = steps.filter(([step, item, child]) => {
    const inner = set[step];
    if (inner === undefined) return true;
    if (isLeaf(inner) || inner[SELF] !== undefined) return false;
    removeFields(child, item, inner);
    return true;
  });
  if (kept.length < steps.length) value.splice(0, value.length, ...kept.map(([, item]) => item));
}

function removeBelow(owner: PlainObject, key: string, schema: Schema | undefined, inner: FieldSet): void {
  if (isLeaf(inner)) {
    delete owner[key];
    return;
  }
  const item = owner[key];
  removeFields(schema, item, inner);
  const empty = isPlainObject(item)
    ? Object.keys(item).length === 0
    : Array.isArray(item) && item.length === 0;
  if (empty) delete owner[key];
}

/** Lays what an applied configuration says over a live value; lists with identity are merged by it. */
export function overlay(schema: Schema | undefined, live: unknown, applied: unknown): unknown {
  if (isAtomic(schema)) return applied;
  if (isPlainObject(applied)) {
    const result: PlainObject = isPlainObject(live) ? { ...live } : {};
    for (const [key, item] of Object.entries(applied)) {
      if (item === null) delete result[key];
      else result[key] = overlay(childSchema(schema, key), result[key], item);
    }
    return result;
  }
  if (!Array.isArray(applied)) return applied;
  const appliedSteps = children(schema, applied);
  const liveSteps = children(schema, Array.isArray(live) ? live : []);
  if (!appliedSteps || !liveSteps) return applied;
  const items = schema?.items && resolve(schema.items);
  const wanted = new Map(appliedSteps.map(([step, item]) => [step, item]));
  const present = new Map(liveSteps.map(([step, item]) => [step, item]));
  // The applied order leads; live items that it does not name keep their place at the end.
  const merged = [...wanted].map(([step, item]) =>
    step.startsWith("v:") ? item : overlay(items, present.get(step), item),
  );
  for (const [step, item] of present) if (!wanted.has(step)) merged.push(item);
  return merged;
}
