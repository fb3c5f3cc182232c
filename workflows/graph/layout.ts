import { Graph, layout } from "@dagrejs/dagre";
import { z } from "zod";
import { type GraphView, lifted, type ViewState } from "./graph-view.ts";

/** A place in the picture: its middle and its size, in pixels. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}
export interface Point {
  readonly x: number;
  readonly y: number;
}
export interface Line {
  readonly points: readonly Point[];
  /** Lines of text, one above the other, around `at`. */
  readonly labels: readonly string[];
  readonly at: Point;
}
export interface Layout {
  readonly width: number;
  readonly height: number;
  /** By path; dots by `<path of what they are in>/start` and `/end`. */
  readonly boxes: ReadonlyMap<string, Box>;
  readonly lines: readonly Line[];
}

export const LINE_HEIGHT = 16;
export const LABEL_HEIGHT = 14;
export const START = "/start";
export const END = "/end";
const TITLE_HEIGHT = 16;
const MARGIN = 16;
const DOT = 14;
const MOST_CHARACTERS = 40;
/** Of the widest fonts that browsers take for `sans-serif`. */
const CHARACTER_WIDTH = 8.6;
const SMALL_CHARACTER_WIDTH = 7;

export const shortened = (text: string): string =>
  text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS - 1)}…` : text;

/** What stands above the states of a group. */
export const groupTitle = ({ key, notes }: ViewState): string => shortened([key, ...notes].join(" · "));

/**
 * Where everything inside `parent` goes. A group is laid out alone and takes its place among its neighbours as one box, so lines into it end at its border:
 * layouts of nested graphs in one go put boxes beside what they hold.
 */
export function laidOut(parent: ViewState, view: GraphView): Layout {
  const groups = new Map(
    parent.states
      .filter(({ states }) => states.length > 0)
      .map((state) => [state.path, laidOut(state, view)]),
  );
  const drawing = new Graph({ multigraph: true });
  drawing.setGraph({ rankdir: "TB", nodesep: 28, ranksep: 34, marginx: MARGIN, marginy: MARGIN });
  drawing.setDefaultEdgeLabel(() => ({}));
  for (const state of parent.states) drawing.setNode(state.path, sizeOf(state, groups.get(state.path)));
  for (const { from, to, labels } of linesOf(parent, view)) {
    for (const end of [from, to])
      if (!drawing.hasNode(end)) drawing.setNode(end, { width: DOT, height: DOT });
    drawing.setEdge(from, to, { labels, labelpos: "c", ...labelSize(labels) }, `${from}>${to}`);
  }
  layout(drawing);
  return assembled(drawing, groups);
}

interface WantedLine {
  readonly from: string;
  readonly to: string;
  readonly labels: readonly string[];
}

/** The lines among the children of `parent` and its dots: one between two places, with the labels of all. */
function linesOf(parent: ViewState, view: GraphView): WantedLine[] {
  const lines = new Map<string, WantedLine>();
  const add = (from: string, to: string, label: string): void => {
    const labels = lines.get(`${from}>${to}`)?.labels ?? [];
    const added = label === "" || labels.includes(label) ? labels : [...labels, ...label.split(" / ")];
    lines.set(`${from}>${to}`, { from, to, labels: added });
  };
  const first = parent.states.find(({ key }) => key === parent.initial);
  if (first) add(`${parent.path}${START}`, first.path, "");
  for (const edge of view.edges) {
    const found = lifted(parent, edge);
    if (found) add(found.from, found.to ?? `${parent.path}${END}`, found.label);
  }
  return [...lines.values()];
}

const widest = (texts: readonly string[], characterWidth: number): number =>
  Math.max(0, ...texts.map((text) => shortened(text).length * characterWidth));

function sizeOf(state: ViewState, group: Layout | undefined): { width: number; height: number } {
  if (group)
    return {
      width: Math.max(group.width, groupTitle(state).length * SMALL_CHARACTER_WIDTH + 16),
      height: group.height + TITLE_HEIGHT,
    };
  return {
    width: Math.max(
      64,
      24 + Math.max(widest([state.key], CHARACTER_WIDTH), widest(state.notes, SMALL_CHARACTER_WIDTH)),
    ),
    height: 20 + LINE_HEIGHT * (1 + state.notes.length),
  };
}

export const labelSize = (labels: readonly string[]): { width?: number; height?: number } =>
  labels.length === 0
    ? {}
    : { width: widest(labels, SMALL_CHARACTER_WIDTH) + 10, height: labels.length * LABEL_HEIGHT + 6 };

const PlacedBox = z.object({ x: z.number(), y: z.number(), width: z.number(), height: z.number() });
const PlacedPoint = z.object({ x: z.number(), y: z.number() });
const PlacedLine = z.object({
  labels: z.array(z.string()),
  points: z.array(PlacedPoint),
  x: z.number().default(0),
  y: z.number().default(0),
});

/** The drawing with each group's own moved into its box. */
function assembled(drawing: Graph, groups: ReadonlyMap<string, Layout>): Layout {
  const { width, height } = z.object({ width: z.number(), height: z.number() }).parse(drawing.graph());
  const boxes = new Map<string, Box>();
  const lines: Line[] = [];
  for (const path of drawing.nodes()) {
    const box = PlacedBox.parse(drawing.node(path));
    boxes.set(path, box);
    const group = groups.get(path);
    if (!group) continue;
    const dx = box.x - group.width / 2;
    const dy = box.y - box.height / 2 + TITLE_HEIGHT;
    const moved = <Placed extends Point>(placed: Placed): Placed => ({
      ...placed,
      x: placed.x + dx,
      y: placed.y + dy,
    });
    for (const [inner, place] of group.boxes) boxes.set(inner, moved(place));
    for (const { labels, points, at } of group.lines)
      lines.push({ labels, points: points.map(moved), at: moved(at) });
  }
  for (const edge of drawing.edges()) {
    const { labels, points, x, y } = PlacedLine.parse(drawing.edge(edge));
    lines.push({ labels, points, at: { x, y } });
  }
  return { width, height, boxes, lines };
}
