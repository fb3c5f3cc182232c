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
  return {
    root,
    edges: merged(
      edges.flatMap(({ from, transition: { event, targets, guard } }): ViewEdge[] => {
        const label = [eventLabel(event), guard === undefined ? "" : `[${guard}]`].filter(Boolean).join(" ");
        if (targets.length === 0) return graph.id === "" ? [{ from, label }] : [];
        return targets.map((target) => ({ from, to: paths.get(target) ?? target, label }));
      }),
    ),
  };
}

/** Between the same two states one line, with both labels. */
function merged(edges: readonly ViewEdge[]): ViewEdge[] {
  const byEnds = new Map<string, ViewEdge>();
  for (const edge of edges) {
    const ends = `${edge.from} ${edge.to ?? ""}`;
    const known = byEnds.get(ends);
    const labels = [known?.label, edge.label].filter(Boolean);
    byEnds.set(ends, { ...edge, label: [...new Set(labels)].join(" / ") });
  }
  return [...byEnds.values()];
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
