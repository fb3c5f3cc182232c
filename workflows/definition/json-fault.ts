/**
 * What of a value JSON cannot hold: a sentence that names the field, or undefined. A run's context lies in the store as JSON between two transitions, so
 * that a Date, a Map or a function in it would come back as something else. Fields that are `undefined` are left out by JSON and are no fault.
 * @param name of the value, e.g. `context`
 */
export function jsonFault(value: unknown, name: string): string | undefined {
  return faultOf(value, name, new Set());
}

const MAX_DEPTH = 500;

function faultOf(value: unknown, path: string, above: Set<object>): string | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "undefined":
      return undefined;
    case "number":
      return Number.isFinite(value) ? undefined : `"${path}" is ${value}, which JSON cannot hold`;
    case "object":
      return value === null ? undefined : objectFault(value, path, above);
    default:
      return `"${path}" is a ${typeof value}, which JSON cannot hold`;
  }
}

function objectFault(value: object, path: string, above: Set<object>): string | undefined {
  if (above.has(value)) return `"${path}" contains itself, which JSON cannot hold`;
  if (above.size >= MAX_DEPTH) return `"${path}" is nested more than ${MAX_DEPTH} deep`;
  above.add(value);
  const fault = Array.isArray(value) ? arrayFault(value, path, above) : fieldsFault(value, path, above);
  above.delete(value);
  return fault;
}

function arrayFault(value: readonly unknown[], path: string, above: Set<object>): string | undefined {
  for (let at = 0; at < value.length; at++) {
    const item = value[at];
    if (item === undefined) return `"${path}[${at}]" is undefined, which JSON cannot hold in an array`;
    const fault = faultOf(item, `${path}[${at}]`, above);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function fieldsFault(value: object, path: string, above: Set<object>): string | undefined {
  const prototype: unknown = Object.getPrototypeOf(value);
  // Objects of another realm have another Object.prototype: what counts is that nothing is above it.
  if (typeof prototype === "object" && prototype !== null && Object.getPrototypeOf(prototype) !== null)
    return `"${path}" is a ${className(prototype)}, which JSON cannot hold: store plain data${adviceFor(className(prototype))}`;
  for (const [key, field] of Object.entries(value)) {
    const fault = faultOf(field, `${path}.${key}`, above);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

const className = (prototype: object): string =>
  typeof prototype.constructor === "function" && prototype.constructor.name !== ""
    ? prototype.constructor.name
    : "class instance";

const ADVICE: Readonly<Record<string, string>> = {
  Date: ", e.g. `date.toISOString()`",
  Map: ", e.g. `Object.fromEntries(map)`",
  Set: ", e.g. `[...set]`",
  Error: ", e.g. `error.message`",
};
const adviceFor = (name: string): string => ADVICE[name] ?? "";
