import type { Json } from "../core/json.ts";
import type {
  Comparison,
  FilterQuery,
  FilterTest,
  JsonPath,
  Operand,
  Segment,
  Selector,
} from "./parse-json-path.ts";

/** A path that cannot be followed or written to, or that visits too much of a document. */
export class InvalidPathError extends Error {
  override name = "InvalidPathError";
}

/** Values that one path may look at: nested wildcards over a large document would otherwise stop the whole process. */
const MAX_VISITS = 200_000;
interface Budget {
  left: number;
  readonly path: string;
  readonly document: Json;
}
function spend(budget: Budget): void {
  if (budget.left-- <= 0)
    throw new InvalidPathError(
      `Cannot follow the path "${budget.path}": it looks at more than ${MAX_VISITS} values`,
    );
}

export const isJsonObject = (
  value: Json | undefined,
): value is { readonly [key: string]: Json | undefined } =>
  typeof value === "object" && value !== null && !Array.isArray(value);
export const isJsonArray = (value: Json | undefined): value is readonly Json[] => Array.isArray(value);

/**
 * The first value that the path selects; a null that is there counts. Undefined: it selects nothing.
 * @throws {InvalidPathError} when it looks at too many values.
 */
export function getPath(path: JsonPath, document: Json): Json | undefined {
  const budget: Budget = { left: MAX_VISITS, path: path.text, document };
  for (const value of select(path.segments, 0, document, budget)) return value;
  return undefined;
}

function* select(
  segments: readonly Segment[],
  at: number,
  value: Json,
  budget: Budget,
): Generator<Json, void, undefined> {
  spend(budget);
  const segment = segments[at];
  if (segment === undefined) {
    yield value;
    return;
  }
  for (const selector of segment.selectors)
    for (const child of selected(selector, value, budget)) yield* select(segments, at + 1, child, budget);
  if (segment.descendants) for (const child of childrenOf(value)) yield* select(segments, at, child, budget);
}

const childrenOf = (value: Json): readonly Json[] =>
  isJsonArray(value)
    ? value
    : isJsonObject(value)
      ? Object.values(value).filter((child): child is Json => child !== undefined)
      : [];

function* selected(selector: Selector, value: Json, budget: Budget): Generator<Json, void, undefined> {
  switch (selector.kind) {
    case "name": {
      const child =
        isJsonObject(value) && Object.hasOwn(value, selector.name) ? value[selector.name] : undefined;
      if (child !== undefined) yield child;
      return;
    }
    case "index": {
      const child = isJsonArray(value) ? value.at(selector.index) : undefined;
      if (child !== undefined) yield child;
      return;
    }
    case "wildcard":
      yield* childrenOf(value);
      return;
    case "slice":
      if (isJsonArray(value)) yield* sliced(value, selector, budget);
      return;
    case "filter":
      for (const child of childrenOf(value)) {
        spend(budget);
        if (passes(selector.test, child, budget)) yield child;
      }
  }
}

function* sliced(
  array: readonly Json[],
  { start, end, step }: Extract<Selector, { kind: "slice" }>,
  budget: Budget,
): Generator<Json, void, undefined> {
  if (step === 0) return;
  const { length } = array;
  const bounded = (index: number): number => (index < 0 ? length + index : index);
  const clamp = (index: number, low: number, high: number): number => Math.min(Math.max(index, low), high);
  const from =
    step > 0 ? clamp(bounded(start ?? 0), 0, length) : clamp(bounded(start ?? length - 1), -1, length - 1);
  const to =
    step > 0
      ? clamp(bounded(end ?? length), 0, length)
      : end === undefined
        ? -1
        : clamp(bounded(end), -1, length - 1);
  for (let at = from; step > 0 ? at < to : at > to; at += step) {
    spend(budget);
    const value = array[at];
    if (value !== undefined) yield value;
  }
}

function passes(test: FilterTest, value: Json, budget: Budget): boolean {
  switch (test.kind) {
    case "and":
      return test.parts.every((part) => passes(part, value, budget));
    case "or":
      return test.parts.some((part) => passes(part, value, budget));
    case "not":
      return !passes(test.part, value, budget);
    case "exists":
      return queried(test.query, value, budget) !== undefined;
    default:
      return compares(
        test.operator,
        operand(test.left, value, budget),
        operand(test.right, value, budget),
        budget,
      );
  }
}

function compares(
  operator: Comparison,
  left: Json | undefined,
  right: Json | undefined,
  budget: Budget,
): boolean {
  switch (operator) {
    case "==":
      return equal(left, right, budget);
    case "!=":
      return !equal(left, right, budget);
    case "<":
      return less(left, right);
    case "<=":
      return less(left, right) || equal(left, right, budget);
    case ">":
      return less(right, left);
    default:
      return less(right, left) || equal(left, right, budget);
  }
}

const operand = (operand: Operand, value: Json, budget: Budget): Json | undefined =>
  operand.kind === "literal" ? operand.value : queried(operand, value, budget);

function queried(query: FilterQuery, value: Json, budget: Budget): Json | undefined {
  for (const found of select(query.segments, 0, query.root ? budget.document : value, budget)) return found;
  return undefined;
}

const less = (left: Json | undefined, right: Json | undefined): boolean =>
  (typeof left === "number" && typeof right === "number" && left < right) ||
  (typeof left === "string" && typeof right === "string" && left < right);

function equal(left: Json | undefined, right: Json | undefined, budget: Budget): boolean {
  spend(budget);
  if (isJsonArray(left) && isJsonArray(right))
    return left.length === right.length && left.every((item, at) => equal(item, right[at], budget));
  if (isJsonObject(left) && isJsonObject(right)) {
    const keys = Object.keys(left);
    return (
      keys.length === Object.keys(right).length &&
      keys.every((key) => Object.hasOwn(right, key) && equal(left[key], right[key], budget))
    );
  }
  return left === right;
}

/**
 * A copy of the document with `value` at the path. Objects on the way that are missing or null are made; an index must exist.
 * @throws {InvalidPathError} when the path selects by wildcard, slice, filter or descent, or leads through something that has no fields.
 */
export function setPath(path: JsonPath, document: Json, value: Json): Json {
  const write = (target: Json | undefined, at: number): Json => {
    const segment = path.segments[at];
    if (segment === undefined) return value;
    const [selector] = segment.selectors;
    const unwritable = (why: string): InvalidPathError =>
      new InvalidPathError(`Cannot write to the path "${path.text}": ${why}`);
    if (segment.descendants || segment.selectors.length !== 1 || selector === undefined)
      throw unwritable("it may select more than one place");
    if (selector.kind === "name") {
      const parent = target ?? {};
      if (!isJsonObject(parent)) throw unwritable(`there is no object that could have "${selector.name}"`);
      const own = Object.hasOwn(parent, selector.name) ? parent[selector.name] : undefined;
      return { ...parent, [selector.name]: write(own, at + 1) };
    }
    if (selector.kind === "index") {
      const index =
        isJsonArray(target) && selector.index < 0 ? target.length + selector.index : selector.index;
      if (!isJsonArray(target) || index < 0 || index >= target.length)
        throw unwritable(`there is no item ${selector.index}`);
      return target.with(index, write(target[index], at + 1));
    }
    throw unwritable("it may select more than one place");
  };
  return write(document, 0);
}
