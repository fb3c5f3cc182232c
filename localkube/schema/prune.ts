import { childPath, copyJson, isPlainObject, type PlainObject, setOwn } from "./plain-object.ts";
import { resolve, type Schema } from "./schema.ts";

const EMBEDDED_FIELDS = new Set(["apiVersion", "kind", "metadata"]);

/**
 * Removes in place what a structural schema does not specify. Returns the paths of what went.
 * `isRoot` keeps apiVersion, kind and metadata, which every object has.
 */
export function prune(schema: Schema, value: unknown, isRoot = true): string[] {
  const removed: string[] = [];
  pruneValue(schema, value, "", isRoot, removed);
  return removed;
}

function pruneValue(
  schema: Schema,
  value: unknown,
  path: string,
  isResource: boolean,
  removed: string[],
): void {
  if (Array.isArray(value)) {
    const items = schema.items;
    if (items) value.forEach((item, index) => pruneChild(items, item, `${path}[${index}]`, removed));
    return;
  }
  if (!isPlainObject(value)) return;
  const preserves = schema["x-kubernetes-preserve-unknown-fields"] === true;
  const rest = schema.additionalProperties;
  for (const key of Object.keys(value)) {
    if (isResource && EMBEDDED_FIELDS.has(key)) continue;
    const at = childPath(path, key);
    const property =
      schema.properties && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;
    if (property) pruneChild(property, value[key], at, removed);
    else if (typeof rest === "object") pruneChild(rest, value[key], at, removed);
    else if (!preserves && rest !== true) {
      delete value[key];
      removed.push(at);
    }
  }
}

function pruneChild(schema: Schema, value: unknown, path: string, removed: string[]): void {
  const target = resolve(schema);
  pruneValue(target, value, path, target["x-kubernetes-embedded-resource"] === true, removed);
}

/** Fills in defaults in place; drops nulls where the schema has a default and does not allow null. */
export function applyDefaults(schema: Schema, value: unknown): void {
  const target = resolve(schema);
  if (Array.isArray(value)) {
    if (target.items) for (const item of value) applyDefaults(target.items, item);
    return;
  }
  if (!isPlainObject(value)) return;
  for (const [key, property] of Object.entries(target.properties ?? {})) {
    const child = resolve(property);
    defaultProperty(value, key, child);
    if (Object.hasOwn(value, key)) applyDefaults(child, value[key]);
  }
  if (typeof target.additionalProperties === "object") {
    for (const [key, item] of Object.entries(value)) {
      if (!target.properties || !Object.hasOwn(target.properties, key)) {
        applyDefaults(target.additionalProperties, item);
      }
    }
  }
}

function defaultProperty(value: PlainObject, key: string, child: Schema): void {
  const present = Object.hasOwn(value, key) && value[key] !== undefined;
  if (present && value[key] === null && child.nullable !== true && child.default !== undefined) {
    setOwn(value, key, copyJson(child.default));
  } else if (!present && child.default !== undefined) setOwn(value, key, copyJson(child.default));
}

/** Drops nulls in place that the schema does not allow: a typed client's way of saying "absent". */
export function dropForbiddenNulls(schema: Schema, value: unknown): void {
  const target = resolve(schema);
  if (Array.isArray(value)) {
    if (target.items) for (const item of value) dropForbiddenNulls(target.items, item);
    return;
  }
  if (!isPlainObject(value)) return;
  for (const [key, item] of Object.entries(value)) {
    const property =
      target.properties && Object.hasOwn(target.properties, key) ? target.properties[key] : undefined;
    const child =
      property ?? (typeof target.additionalProperties === "object" ? target.additionalProperties : undefined);
    if (!child) continue;
    if (item === null && child.nullable !== true && !target.required?.includes(key)) delete value[key];
    else dropForbiddenNulls(child, item);
  }
}
