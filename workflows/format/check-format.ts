import type { z } from "zod";
import { checkDuration, type Report } from "./check-duration.ts";
import { checkState } from "./check-state.ts";
import { FormatSpec, type Graph, iteratorOf, type Retry, type State } from "./spec.ts";

/** Something that keeps a `startAt`/`states` workflow from being run. */
export interface FormatProblem {
  /** The field in the spec, e.g. `states.charge.catch[0].next`. */
  readonly place: string;
  readonly message: string;
}

const MAX_STATES = 100;
const MAX_BRANCH_STATES = 20;
const MAX_DEPTH = 5;
const MAX_ATTEMPTS = 10;
/** They become durable names: in histories, in addresses of steps, in pictures. */
const STATE_NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** All that can be said to be wrong with a spec without running it; functions are not looked up. Empty: it can be run. */
export function checkFormat(value: unknown): readonly FormatProblem[] {
  const problems: FormatProblem[] = [];
  const report: Report = (place, message) => void problems.push({ place, message });
  const parsed = FormatSpec.safeParse(value);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) reportIssue(issue, report);
    return problems;
  }
  const spec = parsed.data;
  if (spec.timeout !== undefined) checkDuration(spec.timeout, "timeout", report);
  checkRetry(spec.defaultRetry, "defaultRetry", report);
  checkGraph(spec, "", 1, report);
  return problems;
}

function reportIssue(issue: z.core.$ZodIssue, report: Report): void {
  const place = placeOf(issue.path);
  if (issue.code !== "unrecognized_keys") return report(place, issue.message);
  for (const key of issue.keys) report(place === "" ? key : `${place}.${key}`, `unknown field "${key}"`);
}

const placeOf = (path: readonly PropertyKey[]): string =>
  path.reduce<string>(
    (place, key) =>
      typeof key === "number" ? `${place}[${key}]` : place === "" ? String(key) : `${place}.${String(key)}`,
    "",
  );

function checkGraph(graph: Graph, place: string, depth: number, report: Report): void {
  const at = (field: string): string => (place === "" ? field : `${place}.${field}`);
  const names = Object.keys(graph.states);
  const max = depth === 1 ? MAX_STATES : MAX_BRANCH_STATES;
  let sound = names.length > 0;
  const note: Report = (where, message) => {
    sound = false;
    report(where, message);
  };
  if (names.length === 0 || names.length > max)
    note(at("states"), `there must be 1..${max} states, got ${names.length}`);
  if (depth > MAX_DEPTH) return note(place, `branches may be nested ${MAX_DEPTH - 1} deep`);
  if (names.length > 0 && !Object.hasOwn(graph.states, graph.startAt))
    note(at("startAt"), noSuchState(graph.startAt, names));
  for (const [name, state] of Object.entries(graph.states)) {
    const own = at(`states.${name}`);
    if (!STATE_NAME.test(name))
      note(own, `"${name}" is no name of a state: allowed are 1..64 characters of A-Z a-z 0-9 _ -`);
    checkState(state, own, note);
    checkRetry(state.retry, `${own}.retry`, note);
    for (const [field, target] of targetsOf(state))
      if (!Object.hasOwn(graph.states, target)) note(`${own}.${field}`, noSuchState(target, names));
    for (const [field, branch] of branchesOf(state)) checkGraph(branch, `${own}.${field}`, depth + 1, report);
  }
  // What is unreachable says nothing while names are wrong.
  if (sound) checkReach(graph, at("states"), report);
}

const noSuchState = (name: string, names: readonly string[]): string =>
  `there is no state "${name}": allowed are ${names.join(", ") || "none"}`;

/** Where a state may go on to, by field. */
function targetsOf(state: State): (readonly [string, string])[] {
  const one = (field: string, target: string | undefined): (readonly [string, string])[] =>
    target ? [[field, target]] : [];
  return [
    ...one("next", state.next),
    ...one("default", state.default),
    ...(state.choices ?? []).map(({ next }, at) => [`choices[${at}].next`, next] as const),
    ...(state.catch ?? []).map(({ next }, at) => [`catch[${at}].next`, next] as const),
  ];
}

function branchesOf(state: State): (readonly [string, Graph])[] {
  const iterator = state.type === "Map" && state.iterator ? iteratorOf(state) : undefined;
  if (iterator) return [["iterator", iterator]];
  return (state.branches ?? []).map((branch, at) => [`branches[${at}]`, branch] as const);
}

function checkReach(graph: Graph, place: string, report: Report): void {
  const reached = new Set([graph.startAt]);
  for (const name of reached) {
    const state = graph.states[name];
    for (const [, target] of state ? targetsOf(state) : []) reached.add(target);
  }
  for (const name of Object.keys(graph.states))
    if (!reached.has(name))
      report(
        `${place}.${name}`,
        `state "${name}" is unreachable: nothing leads to it from "${graph.startAt}"`,
      );
  const ends = [...reached].some((name) => {
    const state = graph.states[name];
    return state?.end === true || state?.type === "Succeed" || state?.type === "Fail";
  });
  if (!ends)
    report(
      place,
      `no end is reachable from "${graph.startAt}": a terminal state is a Succeed, a Fail or one with end: true`,
    );
}

function checkRetry(retry: Retry | undefined, place: string, report: Report): void {
  const { maxAttempts, backoffBase, backoffCap } = retry ?? {};
  if (maxAttempts !== undefined && (maxAttempts < 1 || maxAttempts > MAX_ATTEMPTS))
    report(`${place}.maxAttempts`, `must be 1..${MAX_ATTEMPTS}, got ${maxAttempts}`);
  const base =
    backoffBase === undefined ? undefined : checkDuration(backoffBase, `${place}.backoffBase`, report);
  const cap = backoffCap === undefined ? undefined : checkDuration(backoffCap, `${place}.backoffCap`, report);
  if (base !== undefined && cap !== undefined && cap < base)
    report(`${place}.backoffCap`, `must not be below backoffBase (${backoffBase}), got ${backoffCap}`);
}
