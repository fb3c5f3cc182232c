import { badRequest } from "../api/api-error.ts";
import { isPlainObject, jsonEqual, type PlainObject, plainObjects, setOwn } from "../schema/plain-object.ts";
import { childSchema, resolve, type Schema } from "../schema/schema.ts";

const DELETE_PRIMITIVES = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER = "$setElementOrder/";
const RETAIN_KEYS = "$retainKeys";
const PATCH = "$patch";

/**
 * Strategic merge patch: as a merge patch, but lists that have a merge key are merged item by item. Knows
 * `$patch: replace|delete|merge`, `$deleteFromPrimitiveList/x`, `$setElementOrder/x` and `$retainKeys`.
 * May change `target` and returns the result.
 */
export function strategicMerge(schema: Schema | undefined, target: unknown, patch: PlainObject): PlainObject {
  const { [PATCH]: directive, [RETAIN_KEYS]: retain, ...changes } = patch;
  if (directive === "replace") return withoutDirectives(changes);
  if (directive === "delete") return {};
  if (directive !== undefined && directive !== "merge")
    throw badRequest(`Unknown patch type: ${JSON.stringify(directive)}`);
  const result: PlainObject = isPlainObject(target) ? target : {};
  if (Array.isArray(retain)) {
    for (const key of Object.keys(result)) if (!retain.includes(key)) delete result[key];
  }
  for (const [key, value] of Object.entries(changes)) {
    if (key.startsWith(ELEMENT_ORDER)) continue;
    if (key.startsWith(DELETE_PRIMITIVES)) {
      removePrimitives(result, key.slice(DELETE_PRIMITIVES.length), value);
      continue;
    }
    // With nothing to merge it into, a map that carries a directive is dropped: so does Kubernetes.
    if (value === null || (isDirected(value) && !isPlainObject(result[key]))) delete result[key];
    else setOwn(result, key, mergeField(childSchema(schema, key), result[key], value));
  }
  for (const [key, order] of Object.entries(changes)) {
    if (!key.startsWith(ELEMENT_ORDER) || !Array.isArray(order)) continue;
    const name = key.slice(ELEMENT_ORDER.length);
    const list = result[name];
    if (Array.isArray(list))
      result[name] = reordered(list, order, childSchema(schema, name)?.["x-kubernetes-patch-merge-key"]);
  }
  return result;
}

function mergeField(schema: Schema | undefined, current: unknown, value: unknown): unknown {
  if (isPlainObject(value)) {
    const replaces = schema?.["x-kubernetes-patch-strategy"]?.split(",").includes("replace");
    return replaces ? withoutDirectives(value) : strategicMerge(schema, current, value);
  }
  if (!Array.isArray(value)) return value;
  const merges = schema?.["x-kubernetes-patch-strategy"]?.split(",").includes("merge");
  if (!merges)
    return value.map((item) => (isPlainObject(item) ? withoutDirectives(item) : (item as unknown)));
  const list: unknown[] = Array.isArray(current) ? [...(current as unknown[])] : [];
  const mergeKey = schema?.["x-kubernetes-patch-merge-key"];
  return mergeKey === undefined ? mergePrimitives(list, value) : mergeItems(schema, list, value, mergeKey);
}

function mergePrimitives(list: unknown[], value: unknown[]): unknown[] {
  for (const item of value) if (!list.some((present) => jsonEqual(present, item))) list.push(item);
  return list;
}

function mergeItems(
  schema: Schema | undefined,
  current: unknown[],
  value: unknown[],
  mergeKey: string,
): unknown[] {
  const items = schema?.items && resolve(schema.items);
  if (value.some((item) => isPlainObject(item) && item[PATCH] === "replace")) {
    return plainObjects(value)
      .filter((item) => item[PATCH] === undefined)
      .map(withoutDirectives);
  }
  let list = current;
  for (const item of value) {
    if (!isPlainObject(item))
      throw badRequest("cannot merge: items of a list with a merge key must be objects");
    const id = item[mergeKey];
    if (id === undefined) throw badRequest(`map: does not contain declared merge key: ${mergeKey}`);
    const has = (present: unknown): boolean => isPlainObject(present) && jsonEqual(present[mergeKey], id);
    if (item[PATCH] === "delete") list = list.filter((present) => !has(present));
    else {
      const index = list.findIndex(has);
      if (index === -1) list.push(withoutDirectives(item));
      else list[index] = strategicMerge(items, list[index], item);
    }
  }
  return list;
}

const isDirected = (value: unknown): boolean => isPlainObject(value) && PATCH in value;

function withoutDirectives(value: PlainObject): PlainObject {
  const result: PlainObject = {};
  for (const [key, item] of Object.entries(value)) {
    if (
      key === PATCH ||
      key === RETAIN_KEYS ||
      key.startsWith(ELEMENT_ORDER) ||
      key.startsWith(DELETE_PRIMITIVES)
    )
      continue;
    if (item === null || isDirected(item)) continue;
    if (Array.isArray(item)) {
      result[key] = item
        .filter((each) => !isDirected(each))
        .map((each) => (isPlainObject(each) ? withoutDirectives(each) : (each as unknown)));
    } else setOwn(result, key, isPlainObject(item) ? withoutDirectives(item) : item);
  }
  return result;
}

function removePrimitives(result: PlainObject, name: string, value: unknown): void {
  const list = result[name];
  if (!Array.isArray(list) || !Array.isArray(value)) return;
  result[name] = list.filter((item) => !value.some((gone) => jsonEqual(gone, item)));
}

/** Items named in `order` in that order; the others keep their place behind what they followed. */
function reordered(list: unknown[], order: unknown[], mergeKey: string | undefined): unknown[] {
  const identify = (item: unknown): unknown => (mergeKey && isPlainObject(item) ? item[mergeKey] : item);
  const wanted = order.map(identify);
  const rank = (item: unknown): number => wanted.findIndex((id) => jsonEqual(id, identify(item)));
  const named = list.filter((item) => rank(item) !== -1).sort((a, b) => rank(a) - rank(b));
  let next = 0;
  return list.map((item) => (rank(item) === -1 ? item : named[next++]));
}
