import type { GraphState } from "../definition/definition.ts";

/** A graph as pictures need it: every state with its path, every transition with its label and both ends at their places. */
export interface GraphView {
  readonly root: ViewState;
  readonly edges: readonly ViewEdge[];
}
export interface ViewState {
  /** Keys below the machine joined by dots; empty for the machine. */
  readonly path: string;
  readonly key: string;
  readonly type: GraphState["type"];
  readonly initial?: string;
  /** What stands below its name: its description, and what it calls. */
  readonly notes: readonly string[];
  readonly states: readonly ViewState[];
}
export interface ViewEdge {
  readonly from: string;
  /** Absent: it ends the graph that `from` is in. */
  readonly to?: string;
  readonly label: string;
}

export function graphView(graph: GraphState): GraphView {
  const paths = new Map<string, string>();
  const edges: { from: string; transition: GraphState["transitions"][number] }[] = [];
  const view = (state: GraphState, path: string): ViewState => {
    paths.set(state.id, path);
    edges.push(...state.transitions.map((transition) => ({ from: path, transition })));
    return {
      path,
      key: state.key,
      type: state.type,
      ...(state.initial === undefined ? {} : { initial: state.initial }),
      notes: [
        ...(state.description === undefined ? [] : [state.description]),
        ...state.invokes.filter((name) => name !== "" && name !== state.key && !name.startsWith("xstate.")),
      ],
      states: state.states.map((child) => view(child, path === "" ? child.key : `${path}.${child.key}`)),
    };
  };
  const root = view(graph, "");
  return withAnyState(
    root,
    merged(
      edges.flatMap(({ from, transition: { event, targets, guard } }): PlainEdge[] => {
        const label = [eventLabel(event), guard === undefined ? "" : `[${guard}]`].filter(Boolean).join(" ");
        const plain = event === "" ? "otherwise" : "done";
        if (targets.length === 0) return graph.id === "" ? [{ from, label, plain }] : [];
        return targets.map((target) => ({ from, to: paths.get(target) ?? target, label, plain }));
      }),
    ),
  );
}

/** The path of what stands for every state of the machine. */
const ANY = "any state";

/** Transitions of the machine itself hold in each of its states: they get a place to begin at. */
function withAnyState(root: ViewState, edges: readonly ViewEdge[]): GraphView {
  const own = edges.filter(({ from, to }) => from === "" && to !== undefined);
  if (own.length === 0 || root.states.length === 0) return { root, edges };
  const any: ViewState = { path: ANY, key: ANY, type: "atomic", notes: [], states: [] };
  return {
    root: { ...root, states: [...root.states, any] },
    edges: edges.map((edge) => (own.includes(edge) ? { ...edge, from: ANY } : edge)),
  };
}

/**
 * An edge as it is drawn among the children of `parent`, its label naming what lies deeper at its ends: pictures have no lines between the insides of
 * different states. Nothing: it is drawn elsewhere.
 */
export function lifted(parent: ViewState, { from, to, label }: ViewEdge): ViewEdge | undefined {
  const source = childOn(parent, from);
  if (!source) return undefined;
  if (to === undefined) return source.path === from ? { from, label } : undefined;
  const target = childOn(parent, to);
  if (!target) return undefined;
  if (source === target && from !== source.path && to !== source.path) return undefined;
  const below = (state: ViewState, path: string): string => path.slice(state.path.length + 1);
  const origin = from === source.path ? "" : below(source, from);
  const goal = to === target.path || to === firstIn(target) ? "" : `→ ${below(target, to)}`;
  const text = [origin, label].filter(Boolean).join(": ");
  return { from: source.path, to: target.path, label: [text, goal].filter(Boolean).join(" ") };
}

const childOn = (parent: ViewState, path: string): ViewState | undefined =>
  parent.states.find((child) => path === child.path || path.startsWith(`${child.path}.`));

/** The path of the state that is entered in a group. */
function firstIn(state: ViewState): string {
  const first = state.states.find(({ key }) => key === state.initial);
  return first ? firstIn(first) : state.path;
}

/** `plain`: what one without a label is called beside others. */
type PlainEdge = ViewEdge & { readonly plain: string };

/** Between the same two states one line, with all labels. */
function merged(edges: readonly PlainEdge[]): ViewEdge[] {
  const byEnds = Map.groupBy(edges, ({ from, to }) => `${from} ${to ?? ""}`);
  return [...byEnds.values()].flatMap((same) => {
    const [first] = same;
    if (!first) return [];
    const { plain: _plain, ...edge } = first;
    const isPlain = same.every(({ label }) => label === "");
    const labels = isPlain ? [] : same.map(({ label, plain }) => label || plain);
    return [{ ...edge, label: [...new Set(labels)].join(" / ") }];
  });
}

/** XState's own names of events as people say them. */
function eventLabel(event: string): string {
  const after = /^xstate\.after\.([^.]+)\./.exec(event)?.[1];
  if (after !== undefined) return `after ${/^\d+$/.test(after) ? durationText(Number(after)) : after}`;
  if (event === "done" || /^xstate\.(init|done)(\.|$)/.test(event)) return "";
  if (event === "error" || event.startsWith("xstate.error.")) return "error";
  return event;
}

/** `90s` as `1m30s`. */
export function durationText(ms: number): string {
  const parts: string[] = [];
  let left = ms;
  for (const [unit, length] of [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1_000],
    ["ms", 1],
  ] as const) {
    const count = Math.floor(left / length);
    if (count > 0) parts.push(`${count}${unit}`);
    left -= count * length;
  }
  return parts.join("") || "0s";
}
