import { Graph, layout } from "@dagrejs/dagre";
import { z } from "zod";
import type { GraphState } from "../definition/definition.ts";
import type { Mark, Marks } from "./graph-marks.ts";
import { type GraphView, graphView, type ViewEdge, type ViewState } from "./graph-view.ts";

const FONT = "ui-sans-serif, system-ui, sans-serif";
const CHARACTER_WIDTH = 7.4;
const LINE_HEIGHT = 16;
const DOT = 14;
const COLOURS: Readonly<Record<Mark | "none", { fill: string; stroke: string; text: string }>> = {
  none: { fill: "#f8fafc", stroke: "#64748b", text: "#0f172a" },
  active: { fill: "#dbeafe", stroke: "#2563eb", text: "#1e3a8a" },
  done: { fill: "#dcfce7", stroke: "#16a34a", text: "#14532d" },
  failed: { fill: "#fee2e2", stroke: "#dc2626", text: "#7f1d1d" },
};

/** A workflow as one SVG picture, its states coloured by `marks`. */
export function svgOf(graph: GraphState, marks: Marks = new Map()): string {
  const view = graphView(graph);
  const drawing = new Graph({ compound: true, multigraph: true });
  drawing.setGraph({ rankdir: "TB", nodesep: 28, ranksep: 36, marginx: 16, marginy: 16 });
  drawing.setDefaultEdgeLabel(() => ({}));
  addStates(drawing, view.root);
  for (const edge of drawnEdges(view)) {
    const [from, to] = [leafOf(view.root, edge.from, "out"), leafOf(view.root, edge.to, "in")];
    if (!drawing.hasNode(from)) addDot(drawing, edge.from);
    if (!drawing.hasNode(to)) addDot(drawing, edge.to);
    drawing.setEdge(
      from,
      to,
      { ...edge, labelpos: "c", ...labelSize(edge.label) },
      `${edge.from}>${edge.to}`,
    );
  }
  layout(drawing);
  return picture(drawing, view.root, marks);
}

interface DrawnEdge {
  readonly from: string;
  readonly to: string;
  readonly label: string;
}
const START = "/start";
const END = "/end";
const parentPath = (path: string): string => (path.includes(".") ? path.slice(0, path.lastIndexOf(".")) : "");
/** Dots are named after what they are in: `<path>/start`, `<path>/end`. */
const ownerOf = (dot: string): string => dot.slice(0, dot.lastIndexOf("/"));

function drawnEdges({ root, edges }: GraphView): DrawnEdge[] {
  const starts = (state: ViewState): DrawnEdge[] => {
    const first = state.states.find(({ key }) => key === state.initial);
    const own = first ? [{ from: `${state.path}${START}`, to: first.path, label: "" }] : [];
    return [...own, ...state.states.flatMap(starts)];
  };
  return [
    ...starts(root),
    ...edges.map(({ from, to, label }: ViewEdge) => ({ from, to: to ?? `${parentPath(from)}${END}`, label })),
  ];
}

function addStates(drawing: Graph, parent: ViewState): void {
  for (const state of parent.states) {
    drawing.setNode(state.path, state.states.length > 0 ? {} : stateSize(state));
    if (parent.path !== "") drawing.setParent(state.path, parent.path);
    addStates(drawing, state);
  }
}

function addDot(drawing: Graph, dot: string): void {
  drawing.setNode(dot, { width: DOT, height: DOT });
  const owner = ownerOf(dot);
  if (owner !== "") drawing.setParent(dot, owner);
}

/** A layout knows lines between leaves only: one of a group begins or ends inside it, and is cut at its border when drawn. */
function leafOf(root: ViewState, path: string, way: "in" | "out"): string {
  const state = stateAt(root, path);
  if (!state || state.states.length === 0) return path;
  const inner =
    way === "in"
      ? (state.states.find(({ key }) => key === state.initial) ?? state.states[0])
      : state.states.at(-1);
  return inner ? leafOf(root, inner.path, way) : path;
}

function stateAt(parent: ViewState, path: string): ViewState | undefined {
  for (const state of parent.states) {
    if (state.path === path) return state;
    if (path.startsWith(`${state.path}.`)) return stateAt(state, path);
  }
  return undefined;
}

const textWidth = (text: string): number => text.length * CHARACTER_WIDTH;
const shortened = (text: string): string => (text.length > 40 ? `${text.slice(0, 39)}…` : text);
const stateSize = ({ key, notes }: ViewState) => ({
  width: Math.max(64, ...[key, ...notes].map((line) => textWidth(shortened(line)) + 24)),
  height: 20 + LINE_HEIGHT * (1 + notes.length),
});
const labelSize = (label: string) =>
  label === "" ? {} : { width: textWidth(shortened(label)) + 8, height: LINE_HEIGHT };

const Box = z.object({ x: z.number(), y: z.number(), width: z.number(), height: z.number() });
type Box = z.infer<typeof Box>;
const Point = z.object({ x: z.number(), y: z.number() });
type Point = z.infer<typeof Point>;
const Line = z.object({
  from: z.string(),
  to: z.string(),
  label: z.string(),
  points: z.array(Point),
  x: z.number().optional(),
  y: z.number().optional(),
});

function picture(drawing: Graph, root: ViewState, marks: Marks): string {
  const { width, height } = z.object({ width: z.number(), height: z.number() }).parse(drawing.graph());
  const boxes = new Map<string, Box>(
    drawing.nodes().map((id: string): [string, Box] => [id, Box.parse(drawing.node(id))]),
  );
  const lines: z.infer<typeof Line>[] = drawing
    .edges()
    .map((edge: unknown) => Line.parse(drawing.edge(edge)));
  const size = `width="${Math.ceil(width)}" height="${Math.ceil(height)}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} viewBox="0 0 ${Math.ceil(width)} ${Math.ceil(height)}" font-family="${FONT}" font-size="13">`,
    `<title>${escaped(root.key)}</title>`,
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#64748b"/></marker></defs>',
    '<rect width="100%" height="100%" fill="#ffffff"/>',
    ...root.states.flatMap((state) => drawnState(state, boxes, marks)),
    ...lines.flatMap((line) => drawnLine(line, boxes)),
    ...[...boxes].flatMap(([id, box]) => drawnDot(id, box)),
    "</svg>\n",
  ].join("\n");
}

function drawnState(state: ViewState, boxes: ReadonlyMap<string, Box>, marks: Marks): string[] {
  const box = boxes.get(state.path);
  if (!box) return [];
  const mark = marks.get(state.path);
  const { fill, stroke, text } = COLOURS[mark ?? "none"];
  const [left, top] = [box.x - box.width / 2, box.y - box.height / 2];
  const rectangle = (inset: number, paint: string): string =>
    `<rect x="${px(left + inset)}" y="${px(top + inset)}" width="${px(box.width - 2 * inset)}" height="${px(box.height - 2 * inset)}" rx="8" ${paint}/>`;
  const open = `<g data-state="${escaped(state.path)}"${mark === undefined ? "" : ` class="${mark}"`}>`;
  if (state.states.length > 0) {
    const title = shortened([state.key, ...state.notes].join(" · "));
    return [
      open,
      rectangle(0, `fill="${fill}" fill-opacity="0.4" stroke="${stroke}" stroke-dasharray="5 3"`),
      `<text x="${px(left + 8)}" y="${px(top + 14)}" fill="${text}" font-size="11">${escaped(title)}</text>`,
      "</g>",
      ...state.states.flatMap((inner) => drawnState(inner, boxes, marks)),
    ];
  }
  const first = box.y - (state.notes.length * LINE_HEIGHT) / 2 + 4;
  return [
    open,
    rectangle(0, `fill="${fill}" stroke="${stroke}" stroke-width="${mark === undefined ? 1 : 2}"`),
    ...(state.type === "final" ? [rectangle(3, `fill="none" stroke="${stroke}"`)] : []),
    ...[state.key, ...state.notes].map(
      (line, at) =>
        `<text x="${px(box.x)}" y="${px(first + at * LINE_HEIGHT)}" text-anchor="middle" fill="${at === 0 ? text : "#475569"}"${at === 0 ? ' font-weight="600"' : ' font-size="11"'}>${escaped(shortened(line))}</text>`,
    ),
    "</g>",
  ];
}

function drawnLine(line: z.infer<typeof Line>, boxes: ReadonlyMap<string, Box>): string[] {
  const points = cutAt(
    cutAt(line.points, boxes.get(line.from)).toReversed(),
    boxes.get(line.to),
  ).toReversed();
  const path = points.map(({ x, y }, at) => `${at === 0 ? "M" : "L"}${px(x)} ${px(y)}`).join("");
  const { x, y } = line;
  return [
    `<path d="${path}" fill="none" stroke="#64748b" stroke-linejoin="round" marker-end="url(#arrow)"/>`,
    ...(line.label === "" || x === undefined || y === undefined
      ? []
      : [
          `<text x="${px(x)}" y="${px(y + 4)}" text-anchor="middle" fill="#334155" font-size="11" paint-order="stroke" stroke="#ffffff" stroke-width="4">${escaped(shortened(line.label))}</text>`,
        ]),
  ];
}

/** Without the part of its beginning that lies inside the box. */
function cutAt(points: readonly Point[], box: Box | undefined): readonly Point[] {
  if (!box) return points;
  const within = ({ x, y }: Point): boolean =>
    Math.abs(x - box.x) < box.width / 2 - 0.5 && Math.abs(y - box.y) < box.height / 2 - 0.5;
  const last = points.findLastIndex(within);
  const [inside, outside] = [points[last], points[last + 1]];
  if (!inside || !outside) return points;
  return [crossing(inside, outside, box), ...points.slice(last + 1)];
}

/** Where the way from a point inside the box to one outside leaves it. */
function crossing(inside: Point, outside: Point, box: Box): Point {
  const [dx, dy] = [outside.x - inside.x, outside.y - inside.y];
  const until = (from: number, way: number, middle: number, half: number): number =>
    way === 0 ? Infinity : (middle + Math.sign(way) * half - from) / way;
  const share = Math.min(
    1,
    until(inside.x, dx, box.x, box.width / 2),
    until(inside.y, dy, box.y, box.height / 2),
  );
  return { x: inside.x + dx * share, y: inside.y + dy * share };
}

function drawnDot(id: string, { x, y }: Box): string[] {
  if (id.endsWith(START)) return [`<circle cx="${px(x)}" cy="${px(y)}" r="6" fill="#334155"/>`];
  if (!id.endsWith(END)) return [];
  return [
    `<circle cx="${px(x)}" cy="${px(y)}" r="7" fill="#ffffff" stroke="#334155"/>`,
    `<circle cx="${px(x)}" cy="${px(y)}" r="4" fill="#334155"/>`,
  ];
}

const px = (value: number): string => String(Math.round(value * 10) / 10);
const escaped = (text: string): string =>
  text.replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`);
