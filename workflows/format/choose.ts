import type { Json } from "../core/json.ts";
import { getPath } from "./json-path.ts";
import { parseJsonPath } from "./parse-json-path.ts";
import { compareQuantities, parseQuantity } from "./quantity.ts";
import type { ChoiceRule, Condition } from "./spec.ts";

/** Whether a rule of a Choice holds for a document. */
export type Rule = (document: Json) => boolean;

/** Reads a rule once. @throws {TypeError} when a path or number in it cannot be read. */
export function compileRule(rule: ChoiceRule): Rule {
  if (rule.and?.length) {
    const parts = rule.and.map(compileCondition);
    return (document) => parts.every((part) => part(document));
  }
  if (rule.or?.length) {
    const parts = rule.or.map(compileCondition);
    return (document) => parts.some((part) => part(document));
  }
  if (rule.not) {
    const part = compileCondition(rule.not);
    return (document) => !part(document);
  }
  return compileCondition(rule);
}

/** A value that is missing matches nothing but `isPresent: false` and `isNull: false`. */
function compileCondition(condition: Condition): Rule {
  const path = parseJsonPath(condition.variable ?? "");
  const test = compileTest(condition);
  return (document) => test(getPath(path, document));
}

function compileTest(condition: Condition): (value: Json | undefined) => boolean {
  const { isPresent, isNull, stringEquals, booleanEquals } = condition;
  if (isPresent !== undefined) return (value) => (value !== undefined) === isPresent;
  if (isNull !== undefined) return (value) => (value === null) === isNull;
  if (stringEquals !== undefined) return (value) => value === stringEquals;
  if (booleanEquals !== undefined) return (value) => value === booleanEquals;
  const { numericEquals, numericGreaterThan, numericLessThan } = condition;
  if (numericEquals !== undefined) return compared(numericEquals, (order) => order === 0);
  if (numericGreaterThan !== undefined) return compared(numericGreaterThan, (order) => order > 0);
  if (numericLessThan !== undefined) return compared(numericLessThan, (order) => order < 0);
  return () => false;
}

function compared(limit: string | number, holds: (order: number) => boolean) {
  const bound = parseQuantity(limit);
  if (!bound)
    throw new TypeError(`Cannot compare with "${limit}": allowed are numbers such as 42, 41.5 or 1k`);
  return (value: Json | undefined): boolean => {
    const number = typeof value === "number" ? parseQuantity(value) : undefined;
    return number !== undefined && holds(compareQuantities(number, bound));
  };
}
