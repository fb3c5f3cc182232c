import type { CanaryPhase } from "../../api/kinds/index.ts";
import type { Release, ReleaseSideView } from "../../api/wire/releases.ts";
import { sparkline } from "./sparkline.ts";

const LABEL_WIDTH = 10;
const MIN_COLUMN = 9;
const MAX_COLUMN = 40;
const count = (value: number): string => value.toLocaleString("en-US");
const rate = (value: number): string => (value >= 10 ? value.toFixed(0) : value.toFixed(1));
const ms = (value: number | undefined): string =>
  value === undefined
    ? "–"
    : value >= 1000
      ? `${(value / 1000).toFixed(2)} s`
      : `${value >= 10 ? value.toFixed(0) : value.toFixed(1)} ms`;

const errorsOf = ({ errors, requests }: ReleaseSideView): string =>
  `${count(errors)}${requests > 0 ? `  (${((errors / requests) * 100).toFixed(1)} %)` : ""}`;

const errorRate = ({ errors, requests }: ReleaseSideView): number => (requests > 0 ? errors / requests : 0);

const ENDED: ReadonlySet<CanaryPhase> = new Set(["succeeded", "failed", "aborted"]);
/** Whether nothing more will happen by itself. */
export const hasEnded = ({ phase }: Pick<Release, "phase">): boolean => ENDED.has(phase);

/** Whether the old side has all traffic again. */
export const wasTakenBack = ({ phase }: Pick<Release, "phase">): boolean =>
  phase === "failed" || phase === "aborted";

const PHASE_COLOURS: Readonly<Record<CanaryPhase, number>> = {
  waiting: 36,
  warming: 36,
  progressing: 36,
  holding: 33,
  paused: 33,
  succeeded: 32,
  failed: 31,
  aborted: 31,
};

/** `40s`, `2m`, `1m 20s`. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  const rest = seconds % 60;
  return seconds < 3600
    ? `${Math.floor(seconds / 60)}m${rest ? ` ${rest}s` : ""}`
    : `${Math.floor(seconds / 3600)}h ${Math.floor((seconds % 3600) / 60)}m`;
}

/** Such as `step 2 of 3, 40s of 2m`. */
export function progressOf(release: Release, nowMs: number): string {
  const { phase, step, steps, stepStartedAt, startedAt, finishedAt } = release;
  if (hasEnded(release))
    return startedAt && finishedAt ? `after ${span(Date.parse(finishedAt) - Date.parse(startedAt))}` : "";
  const present = steps[step];
  const place = present ? `step ${step + 1} of ${steps.length}` : "after the last step";
  if (!stepStartedAt) return place;
  const lasted = span(nowMs - Date.parse(stepStartedAt));
  const whole = present && !present.pause && present.durationMs > 0 ? ` of ${span(present.durationMs)}` : "";
  return `${place}, ${lasted}${whole}${phase === "paused" ? ", waits for `release resume`" : ""}`;
}

const pieces = (word: string, width: number): string[] =>
  Array.from({ length: Math.max(1, Math.ceil(word.length / width)) }, (_, at) =>
    word.slice(at * width, (at + 1) * width),
  );

/** Cuts a sentence into lines of at most `width` characters. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/).flatMap((part) => pieces(part, width))) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

const fit = (text: string, width: number): string =>
  text.length <= width ? text : width < 1 ? "" : `${text.slice(0, width - 1)}…`;

/** Names differ at their end. */
const fitEnd = (text: string, width: number): string =>
  text.length <= width ? text : width < 1 ? "" : `…${text.slice(text.length - width + 1)}`;

/** Both sides next to each other, as lines of at most `width` characters (at least 30). Pure. */
export function renderRelease(
  release: Release,
  { width, colour, nowMs }: { width: number; colour: boolean; nowMs: number },
): string[] {
  const paint = (code: number, text: string): string => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const { old, new: next, name, phase, dryRun, sentence } = release;
  const column = Math.max(MIN_COLUMN, Math.min(MAX_COLUMN, Math.floor((width - LABEL_WIDTH - 4) / 2)));
  const top = Math.max(0, ...[...old.seconds, ...next.seconds].map(({ p95Ms }) => p95Ms ?? 0));
  const row = (
    label: string,
    cell: (side: ReleaseSideView) => string,
    mark: (text: string) => string = (text) => text,
  ): string =>
    `  ${label.padEnd(LABEL_WIDTH)}${fit(cell(old), column - 1).padEnd(column)}${mark(fit(cell(next), column))}`.trimEnd();
  const isWorse = errorRate(next) > errorRate(old);
  const progress = progressOf(release, nowMs);
  const latencies = ({ seconds }: ReleaseSideView): string =>
    sparkline(
      seconds.map(({ p95Ms }) => p95Ms),
      { width: column - 2, top },
    );
  const shownName = fit(name, width - phase.length - 2);
  const rest = `${dryRun ? " (dry run)" : ""}${progress ? `  ${progress}` : ""}`;
  const shownRest = fit(rest, width - shownName.length - 2 - phase.length);
  return [
    `${paint(1, shownName)}  ${paint(PHASE_COLOURS[phase], phase)}${shownRest}`,
    "",
    row(
      "",
      (side) => `${fitEnd(side.name, column - 7)} (${side === old ? "old" : "new"})`,
      (text) => paint(1, text),
    ),
    row("traffic", ({ weight }) => `${weight} %`),
    row("requests", ({ requests, perSecond }) => `${count(requests)}  (${rate(perSecond)}/s)`),
    row("errors", errorsOf, isWorse ? (text) => paint(31, text) : undefined),
    row("p50 / p95", ({ p50Ms, p95Ms }) => `${ms(p50Ms)} / ${ms(p95Ms)}`),
    row("p95 by s", latencies),
    "",
    ...wrap(sentence || "No verdict yet", width - 4).map((line) => `  ${line}`),
  ];
}
