type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A field of the object itself: a label may be called `constructor`. */
const own = (object: Json, name: string): unknown => (Object.hasOwn(object, name) ? object[name] : undefined);
const set = (object: Json, name: string, value: unknown): void => {
  Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true });
};

/**
 * The smallest RFC 7386 merge patch that turns `before` into `after`: null for what disappears, lists whole. Undefined when they are
 * equal. (A patch made by hand would leave nested fields behind that `after` has no more.)
 */
export function mergePatch(before: unknown, after: unknown): unknown {
  if (!isObject(after)) return sameJson(before, after) ? undefined : after;
  if (!isObject(before)) return withoutUndefined(after);
  const patch: Json = {};
  for (const name of Object.keys(before)) {
    if (own(before, name) !== undefined && own(after, name) === undefined) set(patch, name, null);
  }
  for (const [name, value] of Object.entries(after)) {
    if (value === undefined) continue;
    const change = mergePatch(own(before, name), value);
    if (change !== undefined) set(patch, name, change);
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
  return [...names].every((name) => sameJson(own(a, name), own(b, name)));
}

function withoutUndefined(value: Json): Json {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined));
}
