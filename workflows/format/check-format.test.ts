import { describe, expect, it } from "vitest";
import { checkFormat } from "./check-format.ts";

const task = (next?: string): Record<string, unknown> => ({
  type: "Task",
  function: { type: "name", name: "fn" },
  ...(next ? { next } : { end: true }),
});
const succeed = { type: "Succeed" };
const branch = (states: Record<string, unknown> = { x: succeed }, startAt = "x") => ({ startAt, states });
type States = Record<string, Record<string, unknown>>;
const base = (change: (states: States) => void = () => {}, more: object = {}): unknown => {
  const states: States = { a: task("done"), done: succeed };
  change(states);
  return { startAt: "a", states, ...more };
};
/** `a` leads to a state `s`. */
const withState = (state: Record<string, unknown>): unknown =>
  base((states) => {
    states["a"] = task("s");
    states["s"] = state;
  });
const leaf = { variable: "$.x", isPresent: true };
const choice = (rule: object): unknown => withState({ type: "Choice", choices: [rule], default: "done" });

/** What the reference system accepts, and what is allowed here beyond it. */
const accepted: [string, unknown][] = [
  ["a line", base()],
  ["a choice", choice({ ...leaf, next: "done" })],
  ["a composite", choice({ and: [leaf, { variable: "$.y", stringEquals: "ok" }], next: "done" })],
  [
    "a cycle through a catch",
    base((s) => (s["a"] = { ...task("done"), catch: [{ errorType: "Fission.All", next: "a" }] })),
  ],
  ["a wait", withState({ type: "Wait", duration: "1m0s", next: "done" })],
  [
    "a parallel",
    withState({
      type: "Parallel",
      branches: [branch({ x: task() }), branch()],
      catch: [{ errorType: "Fission.BranchFailed", next: "done" }],
      next: "done",
    }),
  ],
  [
    "a map",
    withState({
      type: "Map",
      itemsPath: "$.items",
      branches: [branch({ x: task() })],
      maxConcurrency: 3,
      next: "done",
    }),
  ],
  [
    "a map with an iterator",
    withState({ type: "Map", itemsPath: "$.items", iterator: branch({ x: task() }), next: "done" }),
  ],
  [
    "a function without type",
    base((s) => (s["a"] = { type: "Task", function: { name: "fn" }, next: "done" })),
  ],
  [
    "an alias",
    base((s) => (s["a"] = { type: "Task", function: { name: "fn", alias: "live" }, next: "done" })),
  ],
  [
    "a version",
    base((s) => (s["a"] = { type: "Task", function: { name: "fn", version: "fn-v3" }, next: "done" })),
  ],
  [
    "nested fan-out",
    withState({
      type: "Parallel",
      branches: [branch({ x: { type: "Parallel", branches: [branch()], end: true } })],
      next: "done",
    }),
  ],
  [
    "a fail with its error",
    base((s) => {
      s["a"] = { ...task("done"), catch: [{ errorType: "Fission.All", next: "no" }] };
      s["no"] = { type: "Fail", error: "Refused", cause: "why" };
    }),
  ],
  ["numbers as quantities", choice({ variable: "$.x", numericGreaterThan: "1k", next: "done" })],
];

/** What the reference system refuses, with the field that is to be named and a word of why. */
const refused: [string, unknown, string, RegExp][] = [
  ["no states", { startAt: "a", states: {} }, "states", /1\.\.100 states/],
  ["an empty startAt", { ...(base() as object), startAt: "" }, "startAt", /./],
  ["a startAt that is not there", { ...(base() as object), startAt: "ghost" }, "startAt", /"ghost"/],
  [
    "a next that is not there",
    base((s) => (s["a"] = task("ghost"))),
    "states.a.next",
    /"ghost".*allowed are a, done/,
  ],
  ["an unreachable state", base((s) => (s["orphan"] = task())), "states.orphan", /unreachable/],
  [
    "neither next nor end",
    base((s) => (s["a"] = { type: "Task", function: { name: "fn" } })),
    "states.a",
    /exactly one of next and end/,
  ],
  [
    "both next and end",
    base((s) => (s["a"] = { ...task("done"), end: true })),
    "states.a",
    /exactly one.*both/,
  ],
  [
    "a task without function",
    withState({ type: "Task", end: true }),
    "states.s.function",
    /needs a function/,
  ],
  [
    "a succeed with next",
    base((s) => (s["done"] = { type: "Succeed", next: "a" })),
    "states.done.next",
    /a Succeed has no next/,
  ],
  [
    "a fail with retry",
    base((s) => (s["done"] = { type: "Fail", retry: {} })),
    "states.done.retry",
    /a Fail has no retry/,
  ],
  ["a choice without rules", withState({ type: "Choice", default: "done" }), "states.s.choices", /rules/],
  [
    "a choice with a function",
    withState({ type: "Choice", function: { name: "fn" }, choices: [{ ...leaf, next: "done" }] }),
    "states.s.function",
    /a Choice has no function/,
  ],
  [
    "a choice with next",
    withState({ type: "Choice", choices: [{ ...leaf, next: "done" }], next: "done" }),
    "states.s.next",
    /a Choice has no next/,
  ],
  [
    "two comparisons",
    choice({ ...leaf, stringEquals: "x", next: "done" }),
    "states.s.choices[0]",
    /exactly one comparison.*stringEquals, isPresent/,
  ],
  [
    "no comparison",
    choice({ variable: "$.x", next: "done" }),
    "states.s.choices[0]",
    /exactly one comparison/,
  ],
  ["no variable", choice({ isPresent: true, next: "done" }), "states.s.choices[0].variable", /path/],
  [
    "a composite with a comparison",
    choice({ ...leaf, and: [leaf], next: "done" }),
    "states.s.choices[0]",
    /either/,
  ],
  [
    "two composites",
    choice({ and: [leaf], or: [leaf], next: "done" }),
    "states.s.choices[0]",
    /exactly one of and, or, not/,
  ],
  ["a rule without next", choice(leaf), "states.s.choices[0].next", /./],
  ["a rule to nowhere", choice({ ...leaf, next: "ghost" }), "states.s.choices[0].next", /"ghost"/],
  [
    "a default to nowhere",
    withState({ type: "Choice", choices: [{ ...leaf, next: "done" }], default: "ghost" }),
    "states.s.default",
    /"ghost"/,
  ],
  [
    "a catch to nowhere",
    base((s) => (s["a"] = { ...task("done"), catch: [{ errorType: "Fission.All", next: "ghost" }] })),
    "states.a.catch[0].next",
    /"ghost"/,
  ],
  [
    "a catch without class",
    base((s) => (s["a"] = { ...task("done"), catch: [{ errorType: "", next: "done" }] })),
    "states.a.catch[0].errorType",
    /class/,
  ],
  [
    "a class caught twice",
    base(
      (s) =>
        (s["a"] = {
          ...task("done"),
          catch: [
            { errorType: "X", next: "done" },
            { errorType: "X", next: "done" },
          ],
        }),
    ),
    "states.a.catch[1].errorType",
    /duplicate/,
  ],
  [
    "a path without root",
    base((s) => (s["a"] = { ...task("done"), inputPath: "not-a-path" })),
    "states.a.inputPath",
    /jsonpath.*start with \$/,
  ],
  [
    "a variable without root",
    choice({ variable: "nope", isPresent: true, next: "done" }),
    "states.s.choices[0].variable",
    /jsonpath/,
  ],
  [
    "too many attempts",
    base(undefined, { defaultRetry: { maxAttempts: 11 } }),
    "defaultRetry.maxAttempts",
    /1\.\.10, got 11/,
  ],
  [
    "no attempts",
    base(undefined, { defaultRetry: { maxAttempts: 0 } }),
    "defaultRetry.maxAttempts",
    /1\.\.10, got 0/,
  ],
  [
    "a cap below the base",
    base(undefined, { defaultRetry: { backoffBase: "10s", backoffCap: "1s" } }),
    "defaultRetry.backoffCap",
    /backoffBase/,
  ],
  ["a timeout of nothing", base(undefined, { timeout: "0s" }), "timeout", /longer than 0/],
  [
    "a state's timeout of nothing",
    base((s) => (s["a"] = { ...task("done"), timeout: "-1s" })),
    "states.a.timeout",
    /duration/,
  ],
  [
    "no reachable end",
    base((s) => {
      s["a"] = task("b");
      s["b"] = task("a");
      delete s["done"];
    }),
    "states",
    /terminal/,
  ],
  [
    "101 states",
    base((s) => {
      for (let at = 0; at < 100; at++) s[`s${at}`] = task("done");
    }),
    "states",
    /1\.\.100 states, got 102/,
  ],
  ["an unknown type", withState({ type: "Teleport", next: "done" }), "states.s.type", /./],
  ["a wait without duration", withState({ type: "Wait", next: "done" }), "states.s.duration", /duration/],
  [
    "a wait with a function",
    withState({ type: "Wait", duration: "1m", function: { name: "fn" }, next: "done" }),
    "states.s.function",
    /a Wait has no function/,
  ],
  [
    "function weights",
    base(
      (s) =>
        (s["a"] = {
          ...task("done"),
          function: { type: "function-weights", name: "fn", functionweights: { fn: 100 } },
        }),
    ),
    "states.a.function.type",
    /by name/,
  ],
  [
    "a parallel without branches",
    withState({ type: "Parallel", next: "done" }),
    "states.s.branches",
    /branches/,
  ],
  [
    "11 branches",
    withState({ type: "Parallel", branches: Array.from({ length: 11 }, () => branch()), next: "done" }),
    "states.s.branches",
    /./,
  ],
  [
    "a parallel with retry",
    withState({ type: "Parallel", retry: { maxAttempts: 2 }, branches: [branch()], next: "done" }),
    "states.s.retry",
    /a Parallel has no retry/,
  ],
  [
    "a map without itemsPath",
    withState({ type: "Map", branches: [branch()], end: true }),
    "states.s.itemsPath",
    /items/,
  ],
  [
    "a map with two branches",
    withState({ type: "Map", itemsPath: "$.items", branches: [branch(), branch()], end: true }),
    "states.s.branches",
    /exactly one branch/,
  ],
  [
    "an unreachable state of a branch",
    withState({ type: "Parallel", branches: [branch({ x: succeed, orphan: succeed })], next: "done" }),
    "states.s.branches[0].states.orphan",
    /unreachable/,
  ],
  [
    "a branch to the states outside of it",
    withState({ type: "Parallel", branches: [branch({ x: task("done") })], next: "done" }),
    "states.s.branches[0].states.x.next",
    /"done"/,
  ],
  [
    "a name that is none",
    base((s) => {
      s["a"] = task("bad name");
      s["bad name"] = task();
    }),
    "states.bad name",
    /1\.\.64 characters/,
  ],
  [
    "an unknown field",
    withState({ type: "Wait", duration: "1m", next: "done", colour: "red" }),
    "states.s.colour",
    /unknown field "colour"/,
  ],
  [
    "a function that no name can be",
    base((s) => (s["a"] = { ...task("done"), function: { name: "../etc" } })),
    "states.a.function.name",
    /"..\/etc"/,
  ],
  [
    "an alias and a version",
    base((s) => (s["a"] = { ...task("done"), function: { name: "f", alias: "a", version: "v" } })),
    "states.a.function",
    /exclude/,
  ],
  [
    "a number that is none",
    choice({ variable: "$.x", numericEquals: "many", next: "done" }),
    "states.s.choices[0].numericEquals",
    /"many"/,
  ],
  [
    "branches without end",
    withState({
      ...Array.from({ length: 8 }).reduce<Record<string, unknown>>(
        (inner) => ({ type: "Parallel", branches: [branch({ x: inner })], end: true }),
        succeed,
      ),
      end: false,
      next: "done",
    }),
    "states.s.branches[0].states.x.branches[0].states.x.branches[0].states.x.branches[0].states.x.branches[0]",
    /nested/,
  ],
];

describe("the check of a startAt/states workflow", () => {
  it.each(accepted)("accepts %s", (_name, spec) => {
    expect(checkFormat(spec)).toEqual([]);
  });

  it.each(refused)("refuses %s", (_name, spec, place, message) => {
    expect(checkFormat(spec)).toContainEqual({
      place,
      message: expect.stringMatching(message),
    });
  });

  it("says only what is wrong: one fault, one problem", () => {
    for (const [name, spec] of refused)
      if (!/composite|two comparisons|empty startAt/.test(name))
        expect(checkFormat(spec).length, name).toBe(1);
  });
});
