import { isPlainObject, type PlainObject } from "./plain-object.ts";

/** The value at a simple path such as `.spec.replicas`. */
export function valueAt(object: unknown, path: string): unknown {
  let value = object;
  for (const part of path.split(".").filter((piece) => piece !== "")) {
    value = isPlainObject(value) ? value[part] : undefined;
  }
  return value;
}

/** Sets the value at a simple path in place, making what is missing on the way. */
export function setValueAt(object: PlainObject, path: string, value: unknown): void {
  const parts = path.split(".").filter((piece) => piece !== "");
  let place = object;
  for (const part of parts.slice(0, -1)) {
    const next = place[part];
    if (isPlainObject(next)) place = next;
    else {
      const made: PlainObject = {};
      place[part] = made;
      place = made;
    }
  }
  const last = parts.at(-1);
  if (last !== undefined) place[last] = value;
}
