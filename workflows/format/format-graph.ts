import type { GraphState } from "../definition/definition.ts";
import { iteratorOf, type FormatSpec, type Graph, type State } from "./spec.ts";

type Edge = GraphState["transitions"][number];

/** The spec as a graph for pictures: its states as their user wrote them, branches and items nested. */
export const formatGraph = (name: string, spec: FormatSpec): GraphState => ({
  ...compound(name, "", spec),
  id: "",
});

function compound(key: string, path: string, { startAt, states }: Graph): GraphState {
  const under = (name: string): string => (path === "" ? name : `${path}.${name}`);
  return {
    id: path,
    key,
    type: "compound",
    initial: startAt,
    invokes: [],
    transitions: [],
    states: inOrder({ startAt, states }).map(([name, state]) => stateOf(name, under(name), state, under)),
  };
}

/** States in the order in which they are come to, since a stored spec has lost that in which they were written. */
function inOrder({ startAt, states }: Graph): (readonly [string, State])[] {
  const names = new Set([startAt]);
  for (const name of names)
    for (const { targets } of edgesOf(states[name], (target) => target))
      targets.forEach((target) => names.add(target));
  return [...names, ...Object.keys(states).filter((name) => !names.has(name))].flatMap((name) => {
    const state = states[name];
    return state ? [[name, state] as const] : [];
  });
}

function stateOf(key: string, path: string, state: State, under: (name: string) => string): GraphState {
  const common = { id: path, key, transitions: edgesOf(state, under) };
  const description = descriptionOf(state);
  const described = description === undefined ? {} : { description };
  const iterator = state.type === "Map" ? iteratorOf(state) : undefined;
  if (state.type === "Parallel")
    return {
      ...common,
      type: "parallel",
      invokes: [],
      states: (state.branches ?? []).map((branch, at) => compound(String(at), `${path}.${at}`, branch)),
    };
  if (iterator)
    return {
      ...common,
      ...described,
      type: "compound",
      initial: iterator.startAt,
      invokes: [],
      states: compound(key, path, iterator).states,
    };
  return {
    ...common,
    ...described,
    type: state.type === "Succeed" || state.type === "Fail" ? "final" : "atomic",
    invokes: state.function ? [state.function.name] : [],
    states: [],
  };
}

function descriptionOf(state: State): string | undefined {
  switch (state.type) {
    case "Wait":
      return `waits ${state.duration}`;
    case "Map":
      return `for each of ${state.itemsPath}`;
    case "Fail":
      return [state.error, state.cause].filter(Boolean).join(": ") || undefined;
    default:
      return undefined;
  }
}

/** A transition without targets ends the graph that the state is in. */
function edgesOf(state: State | undefined, under: (name: string) => string): Edge[] {
  if (!state) return [];
  const edge = (event: string, next: string | undefined, guard?: string): Edge => ({
    event,
    targets: next === undefined ? [] : [under(next)],
    ...(guard === undefined ? {} : { guard }),
  });
  const out: Edge[] = [];
  if (state.type === "Choice") {
    for (const [at, { next, variable }] of (state.choices ?? []).entries())
      out.push(edge("", next, variable ?? `rule ${at + 1}`));
    if (state.default) out.push(edge("", state.default, "otherwise"));
  } else if (state.next || state.end) out.push(edge(state.type === "Wait" ? "after" : "done", state.next));
  for (const { errorType, next } of state.catch ?? []) out.push(edge("error", next, errorType));
  return out;
}
