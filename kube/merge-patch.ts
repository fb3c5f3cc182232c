type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * The smallest RFC 7386 merge patch that turns `before` into `after`: null for what disappears, lists whole. Undefined when they are
 * equal. (A patch made by hand would leave nested fields behind that `after` has no more.)
 */
export function mergePatch(before: unknown, after: unknown): unknown {
  if (!isObject(after)) return sameJson(before, after) ? undefined : after;
  if (!isObject(before)) return withoutUndefined(after);
  const patch: Json = {};
  for (const name of Object.keys(before)) {
    if (before[name] !== undefined && after[name] === undefined) patch[name] = null;
  }
  for (const [name, value] of Object.entries(after)) {
    if (value === undefined) continue;
    const change = mergePatch(before[name], value);
    if (change !== undefined) patch[name] = change;
  }
  return Object.keys(patch).length > 0 ? patch : undefined;
}

/** Whether two JSON values are equal; undefined fields count as absent. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => sameJson(item, b[index]));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].every((name) => sameJson(a[name], b[name]));
}

function withoutUndefined(value: Json): Json {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined));
}
