import { checkDuration, type Report } from "./check-duration.ts";
import { parseJsonPath } from "./parse-json-path.ts";
import { parseQuantity } from "./quantity.ts";
import type { Condition, State } from "./spec.ts";

type StateType = State["type"];
const STEPS: readonly StateType[] = ["Task", "Parallel", "Map"];
const FAN_OUTS: readonly StateType[] = ["Parallel", "Map"];
/** Which states may have a field; `type` is every state's. */
const FIELDS: readonly (readonly [keyof State, readonly StateType[]])[] = [
  ["function", ["Task"]],
  ["timeout", ["Task"]],
  ["retry", ["Task"]],
  ["catch", STEPS],
  ["choices", ["Choice"]],
  ["default", ["Choice"]],
  ["branches", FAN_OUTS],
  ["iterator", ["Map"]],
  ["itemsPath", ["Map"]],
  ["maxConcurrency", FAN_OUTS],
  ["inputPath", STEPS],
  ["resultPath", STEPS],
  ["outputPath", STEPS],
  ["duration", ["Wait"]],
  ["next", [...STEPS, "Wait"]],
  ["end", [...STEPS, "Wait"]],
  ["error", ["Fail"]],
  ["cause", ["Fail"]],
];
const OBJECT_NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Checks one state but for the states that it names and the branches in it. */
export function checkState(state: State, place: string, report: Report): void {
  for (const [field, types] of FIELDS)
    if (isSet(state[field]) && !types.includes(state.type))
      report(`${place}.${field}`, `a ${state.type} has no ${field}: allowed on ${types.join(", ")}`);
  for (const field of ["inputPath", "resultPath", "outputPath", "itemsPath"] as const)
    checkPath(state[field], `${place}.${field}`, report);
  if (state.timeout !== undefined) checkDuration(state.timeout, `${place}.timeout`, report);
  checkCatch(state, place, report);
  if (STEPS.includes(state.type) || state.type === "Wait") checkWayOn(state, place, report);
  switch (state.type) {
    case "Task":
      return checkFunction(state, `${place}.function`, report);
    case "Choice":
      return checkChoices(state, place, report);
    case "Parallel":
      if (!state.branches?.length) report(`${place}.branches`, "a Parallel needs 1..10 branches, got none");
      return undefined;
    case "Map":
      return checkMap(state, place, report);
    case "Wait":
      if (state.duration === undefined) report(`${place}.duration`, "a Wait needs a duration, such as 90s");
      else checkDuration(state.duration, `${place}.duration`, report);
      return undefined;
    default:
      return undefined;
  }
}

const isSet = (value: unknown): boolean =>
  value !== undefined && value !== "" && value !== false && !(Array.isArray(value) && value.length === 0);

function checkPath(text: string | undefined, place: string, report: Report): void {
  if (!text) return;
  try {
    parseJsonPath(text);
  } catch (error) {
    report(place, `invalid jsonpath: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function checkWayOn({ type, next, end }: State, place: string, report: Report): void {
  if (Boolean(next) === (end === true))
    report(place, `a ${type} has exactly one of next and end: true, got ${next ? "both" : "neither"}`);
}

function checkCatch({ catch: routes = [] }: State, place: string, report: Report): void {
  const seen = new Set<string>();
  for (const [at, { errorType, next, resultPath }] of routes.entries()) {
    const own = `${place}.catch[${at}]`;
    if (errorType === "") report(`${own}.errorType`, "must name a class of errors, such as Fission.All");
    if (seen.has(errorType))
      report(
        `${own}.errorType`,
        `duplicate of "${errorType}": the first route of a class is taken, this one never`,
      );
    seen.add(errorType);
    if (next === "") report(`${own}.next`, "must name a state");
    checkPath(resultPath, `${own}.resultPath`, report);
  }
}

function checkFunction({ function: of }: State, place: string, report: Report): void {
  if (!of) return report(place, "a Task needs a function");
  if (of.type === "function-weights" || of.functionweights)
    return report(
      `${place}.type`,
      'a Task calls one function by name, or one of its aliases, got "function-weights"',
    );
  for (const field of ["name", "alias", "version"] as const) {
    const name = of[field];
    if (name !== undefined && !(field !== "name" && name === "") && !OBJECT_NAME.test(name))
      report(`${place}.${field}`, `"${name}" is no name: allowed are 1..63 characters of a-z 0-9 -`);
  }
  if (of.alias && of.version) report(place, "alias and version exclude each other");
}

function checkMap({ itemsPath, branches = [], iterator }: State, place: string, report: Report): void {
  if (!itemsPath) report(`${place}.itemsPath`, "a Map needs the path of its items, such as $.items");
  if (branches.length + (iterator ? 1 : 0) !== 1)
    report(
      `${place}.branches`,
      `a Map has exactly one branch, which each item runs through, got ${branches.length + (iterator ? 1 : 0)}`,
    );
}

function checkChoices({ choices = [] }: State, place: string, report: Report): void {
  if (choices.length === 0) report(`${place}.choices`, "a Choice needs 1..64 rules, got none");
  for (const [at, { and, or, not, next, ...leaf }] of choices.entries()) {
    const own = `${place}.choices[${at}]`;
    if (next === "") report(`${own}.next`, "must name a state");
    const composites = [and?.length ? "and" : "", or?.length ? "or" : "", not ? "not" : ""].filter(Boolean);
    const plain = Object.values(leaf).some((value) => value !== undefined);
    if (composites.length > 1)
      report(own, `a rule has exactly one of and, or, not, got ${composites.join(", ")}`);
    if (composites.length > 0 && plain)
      report(
        own,
        `a rule is either one comparison or made of others, got both: ${composites[0]} and a comparison`,
      );
    if (composites.length === 0) checkCondition(leaf, own, report);
    for (const [index, part] of (and ?? []).entries()) checkCondition(part, `${own}.and[${index}]`, report);
    for (const [index, part] of (or ?? []).entries()) checkCondition(part, `${own}.or[${index}]`, report);
    if (not) checkCondition(not, `${own}.not`, report);
  }
}

const OPERATORS = [
  "stringEquals",
  "numericEquals",
  "numericGreaterThan",
  "numericLessThan",
  "booleanEquals",
  "isPresent",
  "isNull",
] as const;

function checkCondition(condition: Condition, place: string, report: Report): void {
  if (!condition.variable) report(`${place}.variable`, "must be a path, such as $.order.amount");
  checkPath(condition.variable, `${place}.variable`, report);
  const set = OPERATORS.filter((operator) => condition[operator] !== undefined);
  if (set.length !== 1)
    report(
      place,
      `there must be exactly one comparison (${OPERATORS.join(", ")}), got ${set.join(", ") || "none"}`,
    );
  for (const operator of ["numericEquals", "numericGreaterThan", "numericLessThan"] as const) {
    const value = condition[operator];
    if (value !== undefined && !parseQuantity(value))
      report(`${place}.${operator}`, `"${value}" is no number: allowed are numbers such as 42, 41.5 or 1k`);
  }
}
