import { describe, expect, it } from "vitest";
import type { Json } from "../core/json.ts";
import { compileRule } from "./choose.ts";
import { compareQuantities, parseQuantity } from "./quantity.ts";
import type { ChoiceRule } from "./spec.ts";

const input = { amount: 42, tier: "gold", active: true, nullish: null, text: "42", list: [1] };
const holds = (rule: Omit<ChoiceRule, "next">, document: Json = input): boolean =>
  compileRule({ ...rule, next: "x" })(document);
const of = (name: string, comparison: Omit<ChoiceRule, "next" | "variable">): Omit<ChoiceRule, "next"> => ({
  variable: `$.${name}`,
  ...comparison,
});

describe("a rule of a Choice", () => {
  it.each([
    [of("amount", { numericEquals: 42 }), true],
    [of("amount", { numericEquals: "42.0" }), true],
    [of("amount", { numericGreaterThan: "41.5" }), true],
    [of("amount", { numericLessThan: 42 }), false],
    [of("amount", { numericLessThan: "1k" }), true],
    [of("amount", { numericGreaterThan: "500m" }), true],
    [of("text", { numericEquals: 42 }), false],
    [of("ghost", { numericLessThan: 1 }), false],
    [of("tier", { stringEquals: "gold" }), true],
    [of("amount", { stringEquals: "42" }), false],
    [of("active", { booleanEquals: true }), true],
    [of("active", { booleanEquals: false }), false],
    [of("tier", { isPresent: true }), true],
    [of("ghost", { isPresent: false }), true],
    [of("nullish", { isPresent: true }), true],
    [of("nullish", { isNull: true }), true],
    [of("ghost", { isNull: true }), false],
    [of("ghost", { isNull: false }), true],
    [of("tier", { isNull: false }), true],
    [{ and: [of("amount", { numericGreaterThan: 40 }), of("amount", { numericLessThan: 50 })] }, true],
    [{ or: [of("amount", { numericGreaterThan: 100 }), of("amount", { numericLessThan: 50 })] }, true],
    [{ not: of("amount", { numericGreaterThan: 100 }) }, true],
    [{ not: of("ghost", { stringEquals: "x" }) }, true],
  ] as [Omit<ChoiceRule, "next">, boolean][])("%j is %s", (rule, expected) => {
    expect(holds(rule)).toBe(expected);
  });
});

describe("quantities", () => {
  it.each([
    ["1", "1000m", 0],
    ["1Ki", "1024", 0],
    ["1k", "1Ki", -1],
    ["1e3", "1k", 0],
    ["0.1", "100m", 0],
    ["-1", "0", -1],
    ["9007199254740993", "9007199254740992", 1],
    [".5", "500m", 0],
    ["1E", "1e18", 0],
    ["1e21", "1000E", 0],
  ])("%s against %s: %i", (left, right, order) => {
    const [a, b] = [parseQuantity(left), parseQuantity(right)];
    expect(a && b && compareQuantities(a, b)).toBe(order);
  });

  it.each(["", "x", "1 k", "1kk", "Infinity", "NaN", "1e9999", "--1", "0x10"])('"%s" is none', (text) => {
    expect(parseQuantity(text)).toBeUndefined();
  });
});
