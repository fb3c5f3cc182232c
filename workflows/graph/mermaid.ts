import type { GraphState } from "../definition/definition.ts";
import type { Marks } from "./graph-marks.ts";
import { type GraphView, graphView, lifted, type ViewState } from "./graph-view.ts";

/** A workflow as a Mermaid state diagram (`stateDiagram-v2`), its states coloured by `marks`. */
export function mermaidOf(graph: GraphState, marks?: Marks): string {
  const view = graphView(graph);
  const names = namesOf(view.root);
  const lines = ["stateDiagram-v2", ...inside(view.root, view, names, "  ")];
  const coloured = (marks ? leavesOf(view.root) : []).flatMap(({ path }) => {
    const mark = marks?.get(path);
    return mark === undefined ? [] : [`  class ${names.get(path) ?? path} ${mark}`];
  });
  if (coloured.length > 0)
    lines.push(
      "  classDef active fill:#dbeafe,stroke:#2563eb,stroke-width:2px,color:#1e3a8a",
      "  classDef done fill:#dcfce7,stroke:#16a34a,color:#14532d",
      "  classDef failed fill:#fee2e2,stroke:#dc2626,stroke-width:2px,color:#7f1d1d",
      ...coloured,
    );
  return `${lines.join("\n")}\n`;
}

const leavesOf = (state: ViewState): ViewState[] =>
  state.states.length === 0 ? [state] : state.states.flatMap(leavesOf);

/** Names that Mermaid takes, one for each path: it knows neither dots nor its own keywords. */
function namesOf(root: ViewState): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const used = new Set(["end", "state", "note", "class", "style", "direction", "default"]);
  const add = ({ path, states }: ViewState): void => {
    let name = path.replace(/[^A-Za-z0-9]+/g, "_") || "_";
    while (used.has(name.toLowerCase())) name += "_";
    used.add(name.toLowerCase());
    names.set(path, name);
    states.forEach(add);
  };
  root.states.forEach(add);
  return names;
}

function inside(
  parent: ViewState,
  view: GraphView,
  names: ReadonlyMap<string, string>,
  indent: string,
): string[] {
  const lines = parent.states.flatMap((state, at) => [
    ...(parent.type === "parallel" && at > 0 ? [`${indent}--`] : []),
    ...declared(state, view, names, indent),
  ]);
  if (parent.initial !== undefined) {
    const first = parent.states.find(({ key }) => key === parent.initial);
    if (first) lines.push(`${indent}[*] --> ${names.get(first.path) ?? ""}`);
  }
  for (const edge of view.edges) {
    const found = lifted(parent, edge);
    if (!found) continue;
    const to = found.to === undefined ? "[*]" : (names.get(found.to) ?? "");
    lines.push(
      `${indent}${names.get(found.from) ?? ""} --> ${to}${found.label ? ` : ${escaped(found.label)}` : ""}`,
    );
  }
  for (const { type, path } of parent.states)
    if (type === "final") lines.push(`${indent}${names.get(path) ?? ""} --> [*]`);
  return lines;
}

function declared(
  state: ViewState,
  view: GraphView,
  names: ReadonlyMap<string, string>,
  indent: string,
): string[] {
  const name = names.get(state.path) ?? "";
  const title = escaped([state.key, ...state.notes].join(" · "));
  if (state.states.length === 0) return [`${indent}state "${title}" as ${name}`];
  return [
    `${indent}state "${title}" as ${name} {`,
    ...inside(state, view, names, `${indent}  `),
    `${indent}}`,
  ];
}

/** Mermaid ends a label at a colon or semicolon. */
const escaped = (text: string): string =>
  text
    .replace(/[\r\n]+/g, " ")
    .replace(/["#:;]/g, (mark) => (mark === '"' ? "'" : `#${mark.charCodeAt(0)};`));
