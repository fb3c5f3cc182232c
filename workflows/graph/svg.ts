import type { GraphState } from "../definition/definition.ts";
import type { Mark, Marks } from "./graph-marks.ts";
import { graphView, type ViewState } from "./graph-view.ts";
import {
  type Box,
  END,
  groupTitle,
  labelSize,
  LABEL_HEIGHT,
  laidOut,
  type Line,
  LINE_HEIGHT,
  type Point,
  shortened,
  START,
} from "./layout.ts";

const FONT = "ui-sans-serif, system-ui, sans-serif";
interface Colours {
  readonly fill: string;
  readonly stroke: string;
  readonly text: string;
}
type Palette = Readonly<
  Record<Mark | "none", Colours> & { page: string; line: string; label: string; note: string }
>;
const LIGHT: Palette = {
  page: "#ffffff",
  line: "#64748b",
  label: "#334155",
  note: "#475569",
  none: { fill: "#f8fafc", stroke: "#64748b", text: "#0f172a" },
  active: { fill: "#dbeafe", stroke: "#2563eb", text: "#1e3a8a" },
  done: { fill: "#dcfce7", stroke: "#16a34a", text: "#14532d" },
  failed: { fill: "#fee2e2", stroke: "#dc2626", text: "#7f1d1d" },
};
const DARK: Palette = {
  page: "#0f172a",
  line: "#94a3b8",
  label: "#cbd5e1",
  note: "#cbd5e1",
  none: { fill: "#1e293b", stroke: "#94a3b8", text: "#f1f5f9" },
  active: { fill: "#1e3a8a", stroke: "#60a5fa", text: "#eff6ff" },
  done: { fill: "#14532d", stroke: "#4ade80", text: "#f0fdf4" },
  failed: { fill: "#7f1d1d", stroke: "#f87171", text: "#fef2f2" },
};

/** Light colours stand at the shapes themselves, so that every viewer has them; these are for those that tell what the reader likes. */
const darkRules = (): string => {
  const marked = (["active", "done", "failed"] as const).map((mark) => stateRules(`g.${mark}>`, DARK[mark]));
  const rules = [
    `.page{fill:${DARK.page}}.line{stroke:${DARK.line}}.tip{fill:${DARK.line}}.dot{fill:${DARK.label}}.ring{fill:${DARK.page};stroke:${DARK.label}}.label{fill:${DARK.label}}`,
    stateRules("", DARK.none),
    ...marked,
    `.note{fill:${DARK.note}}`,
  ];
  return `<style>@media (prefers-color-scheme:dark){${rules.join("")}}</style>`;
};
const stateRules = (within: string, { fill, stroke, text }: Colours): string =>
  `${within}.state{fill:${fill};stroke:${stroke}}${within}.final{stroke:${stroke}}${within}.name{fill:${text}}`;

/** A workflow as one SVG picture, its states coloured by `marks`. */
export function svgOf(graph: GraphState, marks: Marks = new Map()): string {
  const view = graphView(graph);
  const { width, height, boxes, lines } = laidOut(view.root, view);
  const size = `width="${Math.ceil(width)}" height="${Math.ceil(height)}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} viewBox="0 0 ${Math.ceil(width)} ${Math.ceil(height)}" font-family="${FONT}" font-size="13">`,
    `<title>${escaped(view.root.key)}</title>`,
    darkRules(),
    `<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path class="tip" d="M0 0L8 4L0 8z" fill="${LIGHT.line}"/></marker></defs>`,
    `<rect class="page" width="100%" height="100%" fill="${LIGHT.page}"/>`,
    ...view.root.states.flatMap((state) => drawnState(state, boxes, marks)),
    ...lines.map(drawnLine),
    ...lines.flatMap(drawnLabels),
    ...[...boxes].flatMap(([id, box]) => drawnDot(id, box)),
    "</svg>\n",
  ].join("\n");
}

function drawnState(state: ViewState, boxes: ReadonlyMap<string, Box>, marks: Marks): string[] {
  const box = boxes.get(state.path);
  if (!box) return [];
  const mark = marks.get(state.path);
  const { fill, stroke, text } = LIGHT[mark ?? "none"];
  const [left, top] = [box.x - box.width / 2, box.y - box.height / 2];
  const rectangle = (name: string, inset: number, paint: string): string =>
    `<rect class="${name}" x="${px(left + inset)}" y="${px(top + inset)}" width="${px(box.width - 2 * inset)}" height="${px(box.height - 2 * inset)}" rx="8" ${paint}/>`;
  const open = `<g data-state="${escaped(state.path)}"${mark === undefined ? "" : ` class="${mark}"`}>`;
  if (state.states.length > 0)
    return [
      open,
      rectangle("state", 0, `fill="${fill}" fill-opacity="0.4" stroke="${stroke}" stroke-dasharray="5 3"`),
      `<text class="name" x="${px(left + 10)}" y="${px(top + 16)}" fill="${text}" font-size="11">${escaped(groupTitle(state))}</text>`,
      "</g>",
      ...state.states.flatMap((inner) => drawnState(inner, boxes, marks)),
    ];
  const first = box.y - (state.notes.length * LINE_HEIGHT) / 2 + 4;
  const texts = [state.key, ...state.notes].map((line, at) => {
    const how =
      at === 0
        ? `class="name" fill="${text}" font-weight="600"`
        : `class="note" fill="${LIGHT.note}" font-size="11"`;
    return `<text x="${px(box.x)}" y="${px(first + at * LINE_HEIGHT)}" text-anchor="middle" ${how}>${escaped(shortened(line))}</text>`;
  });
  return [
    open,
    rectangle("state", 0, `fill="${fill}" stroke="${stroke}" stroke-width="${mark === undefined ? 1 : 2}"`),
    ...(state.type === "final" ? [rectangle("final", 3, `fill="none" stroke="${stroke}"`)] : []),
    ...texts,
    "</g>",
  ];
}

const drawnLine = ({ points }: Line): string =>
  `<path class="line" d="${rounded(points)}" fill="none" stroke="${LIGHT.line}" marker-end="url(#arrow)"/>`;

const CORNER = 18;

/** A way through the points with its corners rounded. */
function rounded(points: readonly Point[]): string {
  const at = ({ x, y }: Point): string => `${px(x)} ${px(y)}`;
  const [start, ...rest] = points;
  if (!start) return "";
  const parts = rest.map((point, index) => {
    const [before, next] = [points[index], rest[index + 1]];
    if (!before || !next) return `L${at(point)}`;
    return `L${at(towards(point, before))}Q${at(point)} ${at(towards(point, next))}`;
  });
  return `M${at(start)}${parts.join("")}`;
}

/** A corner's length from one point in the direction of another, at most half of the way. */
function towards(from: Point, to: Point): Point {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  const share = length === 0 ? 0 : Math.min(CORNER / length, 0.5);
  return { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share };
}

/** After all lines, on the page's own colour: no line goes through a text. */
function drawnLabels({ labels, at }: Line): string[] {
  const { width = 0, height = 0 } = labelSize(labels);
  if (labels.length === 0) return [];
  const first = at.y - ((labels.length - 1) * LABEL_HEIGHT) / 2 + 4;
  return [
    `<rect class="page" x="${px(at.x - width / 2)}" y="${px(at.y - height / 2)}" width="${px(width)}" height="${px(height)}" rx="4" fill="${LIGHT.page}" fill-opacity="0.85"/>`,
    ...labels.map(
      (label, index) =>
        `<text class="label" x="${px(at.x)}" y="${px(first + index * LABEL_HEIGHT)}" text-anchor="middle" fill="${LIGHT.label}" font-size="11">${escaped(shortened(label))}</text>`,
    ),
  ];
}

function drawnDot(id: string, { x, y }: Box): string[] {
  const dot = (radius: number): string =>
    `<circle class="dot" cx="${px(x)}" cy="${px(y)}" r="${radius}" fill="${LIGHT.label}"/>`;
  if (id.endsWith(START)) return [dot(6)];
  if (!id.endsWith(END)) return [];
  return [
    `<circle class="ring" cx="${px(x)}" cy="${px(y)}" r="7" fill="${LIGHT.page}" stroke="${LIGHT.label}"/>`,
    dot(4),
  ];
}

const px = (value: number): string => String(Math.round(value * 10) / 10);
const escaped = (text: string): string =>
  text.replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`);
