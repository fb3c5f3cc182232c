import { sparkline } from "./sparkline.ts";

/** One version's share of a release, as people are shown it. */
export interface ReleaseSide {
  name: string;
  /** Percent. */
  weight: number;
  requests: number;
  errors: number;
  /** Requests per second lately. */
  perSecond: number;
  /** Milliseconds; nothing without requests. */
  p50Ms: number | undefined;
  p95Ms: number | undefined;
  /** 95th percentile of each second, oldest first; nothing where there was no request. */
  latencies: readonly (number | undefined)[];
}

export interface ReleaseView {
  name: string;
  /** Such as `step 2 of 3, for 40s`. */
  progress: string;
  /** Such as `progressing`, `paused`, `succeeded`, `failed`. */
  phase: string;
  old: ReleaseSide;
  next: ReleaseSide;
  /** One sentence with its evidence; empty before the first. */
  verdict: string;
}

const LABEL_WIDTH = 10;
const MIN_COLUMN = 22;
const MAX_COLUMN = 40;
const count = (value: number): string => value.toLocaleString("en-US");
const rate = (value: number): string => (value >= 10 ? value.toFixed(0) : value.toFixed(1));
const ms = (value: number | undefined): string =>
  value === undefined
    ? "–"
    : value >= 1000
      ? `${(value / 1000).toFixed(2)} s`
      : `${value >= 10 ? value.toFixed(0) : value.toFixed(1)} ms`;

const errorsOf = ({ errors, requests }: ReleaseSide): string =>
  `${count(errors)}${requests > 0 ? `  (${((errors / requests) * 100).toFixed(1)} %)` : ""}`;

const PHASE_COLOURS: Readonly<Record<string, number>> = {
  succeeded: 32,
  failed: 31,
  aborted: 31,
  paused: 33,
};

/** Cuts a sentence into lines of at most `width` characters. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Both versions side by side, as lines of at most `width` characters (at least 60). Pure. */
export function renderRelease(
  view: ReleaseView,
  { width, colour }: { width: number; colour: boolean },
): string[] {
  const paint = (code: number, text: string): string => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const column = Math.max(MIN_COLUMN, Math.min(MAX_COLUMN, Math.floor((width - LABEL_WIDTH - 4) / 2)));
  const top = Math.max(0, ...[...view.old.latencies, ...view.next.latencies].map((value) => value ?? 0));
  const row = (
    label: string,
    cell: (side: ReleaseSide) => string,
    mark?: (text: string) => string,
  ): string => {
    const right = cell(view.next).slice(0, column);
    return `  ${label.padEnd(LABEL_WIDTH)}${cell(view.old)
      .slice(0, column - 1)
      .padEnd(column)}${mark ? mark(right) : right}`.trimEnd();
  };
  const worse = view.next.requests > 0 && view.next.errors / view.next.requests > errorRate(view.old);
  const phase = paint(PHASE_COLOURS[view.phase] ?? 36, view.phase);
  return [
    `${paint(1, view.name)}  ${phase}${view.progress ? `  ${view.progress}` : ""}`,
    "",
    row(
      "",
      ({ name }) => `${name} (${name === view.old.name ? "old" : "new"})`,
      (text) => paint(1, text),
    ),
    row("traffic", ({ weight }) => `${weight} %`),
    row("requests", ({ requests, perSecond }) => `${count(requests)}  (${rate(perSecond)}/s)`),
    row("errors", errorsOf, worse ? (text) => paint(31, text) : undefined),
    row("p50 / p95", ({ p50Ms, p95Ms }) => `${ms(p50Ms)} / ${ms(p95Ms)}`),
    row("p95 by s", ({ latencies }) => sparkline(latencies, { width: column - 2, top }).trimStart()),
    "",
    ...wrap(view.verdict || "No verdict yet", Math.max(40, width - 4)).map((line) => `  ${line}`),
  ];
}

const errorRate = ({ errors, requests }: ReleaseSide): number => (requests > 0 ? errors / requests : 0);
