import type { HistoryLine, RunView } from "../../api/wire/workflows.ts";
import { age, table } from "../output.ts";

/** One line of JSON, cut to `width`. */
export function shortJson(value: unknown, width = 120): string {
  const text = JSON.stringify(value) ?? "";
  return text.length > width ? `${text.slice(0, width - 1)}…` : text;
}

/** How long a run has taken, or takes already. */
export const tookText = (startedAt: string, finishedAt: string | undefined, now = Date.now()): string => {
  const ms = Math.max(0, (finishedAt === undefined ? now : Date.parse(finishedAt)) - Date.parse(startedAt));
  if (ms < 1_000) return `${ms}ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)}s`;
  return age(new Date(now - ms).toISOString(), now);
};

/** A run for people. */
export function runText(run: RunView, now = Date.now()): string {
  const lines: [string, string][] = [
    ["Run", `${run.namespace}/${run.id}`],
    ["Workflow", `${run.workflow}, generation ${run.generation}, definition ${run.definition.slice(0, 12)}`],
    ["Status", `${run.status}${run.ending ? `, on the way to ${run.ending}` : ""}`],
    ["States", run.states.join(", ")],
    ["Accepts", run.accepts.join(", ")],
    ["Started", `${run.startedAt}, by ${run.startedBy}`],
    ["Took", tookText(run.startedAt, run.finishedAt, now)],
    ["Finished", run.finishedAt ?? ""],
    ["Deadline", run.finishedAt === undefined ? (run.deadlineAt ?? "") : ""],
    ["Parent", run.parent ? `${run.parent.namespace}/${run.parent.id}` : ""],
    ["Error", run.error ? `${run.error.type}: ${run.error.message}` : ""],
    ["Input", shortJson(run.input, 400)],
    ["Output", run.output === undefined || run.output === null ? "" : shortJson(run.output, 400)],
  ];
  const head = lines
    .filter(([, text]) => text !== "")
    .map(([name, text]) => `${`${name}:`.padEnd(11)}${text}\n`);
  const steps = run.steps.map(({ actor, state, attempt, notBefore, waiting, items }) => [
    state,
    actor,
    String(attempt),
    notBefore ? `waits until ${notBefore}` : waiting ? "waits for its completion" : "runs",
    items === undefined ? "" : String(items),
  ]);
  const timers = run.timers.map(({ event, dueAt }) => [eventName(event), dueAt, untilText(dueAt, now)]);
  const pins = Object.entries(run.pins).map(([actor, { kind, name, version }]) => [
    actor,
    kind,
    version ?? name,
  ]);
  return [
    ...head,
    ...section("Steps", ["STATE", "ACTOR", "ATTEMPT", "NOW", "ITEMS"], steps),
    ...section("Timers", ["EVENT", "DUE", ""], timers),
    ...section("Pinned", ["ACTOR", "KIND", "TO"], pins),
  ].join("");
}

const section = (title: string, headers: readonly string[], rows: readonly string[][]): string[] =>
  rows.length === 0 ? [] : [`\n${title}:\n`, table(headers, rows)];

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
] as const;

/** How long until a time, in the two largest units that count: "in 2d 23h". */
export function untilText(time: string, now: number): string {
  const ms = Date.parse(time) - now;
  if (ms < 1_000) return ms > 0 ? "in less than 1s" : "now";
  const from = UNITS.findIndex(([, unitMs]) => ms >= unitMs);
  let left = ms;
  const parts = UNITS.slice(from, from + 2).map(([name, unitMs]) => {
    const count = Math.floor(left / unitMs);
    left -= count * unitMs;
    return count > 0 ? `${count}${name}` : "";
  });
  return `in ${parts.filter(Boolean).join(" ")}`;
}

/** XState's own names of events, as the definition has them: "after patience", "done charge". Others stay as they are. */
export const eventName = (event: string): string =>
  event
    .replace(/^xstate\.after\.(\d+)\..*$/, "after $1 ms")
    .replace(/^xstate\.after\.([^.]+)\..*$/, "after $1")
    .replace(
      /^xstate\.(done|error)\.actor\.(?:\d+\.)?(?:[^.]+\.)?(.+)$/,
      (_all, how: string, child: string) => `${how === "done" ? "done" : "failed"}: ${child}`,
    )
    .replace(/^xstate\.done\.state\.(?:[^.]+\.)?(.+)$/, "done: $1");

/** What a line of history says beside its type. */
export function lineNote({ type, event, error, note, token }: HistoryLine): string {
  const why = error ? `${error.type}: ${error.message}` : "";
  if (type === "finished") return [note ?? "", why].filter(Boolean).join(": ");
  return [event === undefined ? "" : eventName(event), why, note ?? "", token ? `(${token})` : ""]
    .filter(Boolean)
    .join(" ");
}

/** A line of history for people; with `io` also what went in or came out. */
export function lineText(line: HistoryLine, io: boolean): string {
  const cells = [
    line.at,
    line.type.padEnd(17),
    [line.state ?? "", line.attempt !== undefined && line.attempt > 1 ? `attempt ${line.attempt}` : ""]
      .filter(Boolean)
      .join(" "),
    lineNote(line),
  ].filter(Boolean);
  const payload = io && line.payload ? `\n    ${payloadText(line.payload)}` : "";
  return `${cells.join("  ").trimEnd()}${payload}\n`;
}

/** A payload as JSON, or where it lies when it is large. */
const payloadText = (payload: NonNullable<HistoryLine["payload"]>): string =>
  "ref" in payload ? `${payload.bytes} bytes at ${payload.ref}` : (JSON.stringify(payload.value) ?? "null");
