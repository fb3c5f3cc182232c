import type { HistoryEntry, RunRecord } from "../../../workflows/core/run-record.ts";
import type { Simulated } from "./world.ts";

const MAX_ATTEMPTS: Readonly<Record<string, number>> = { refund: 4, recall: 4, "": 4 };
const OVER: readonly HistoryEntry["type"][] = [
  "effect-completed",
  "effect-failed",
  "effect-cancelled",
  "compensated",
];

/** What is wrong with a world after all that was done to it; empty: nothing. */
export function faultsOf(world: Simulated): string[] {
  return [
    ...world.stuck.map((id) => `${id}: never ended`),
    ...[...world.runs].flatMap(([id, { record, history }]) =>
      [
        ...endedClean(record),
        ...effectsOnce(history),
        ...timersInTime(history),
        ...eventsOnce(history),
        ...undoneInReverse(record, history),
        ...attemptsCounted(id, history, world),
      ].map((fault) => `${id}: ${fault}`),
    ),
  ];
}

function endedClean(record: RunRecord): string[] {
  if (record.status === "running") return [];
  return [
    ...(Object.keys(record.effects).length > 0 ? ["ended with open effects"] : []),
    ...(Object.keys(record.timers).length > 0 ? ["ended with open timers"] : []),
    ...(record.ending ? ["ended while ending"] : []),
  ];
}

/** What is scheduled comes to one end, and nothing else does. */
function effectsOnce(history: readonly HistoryEntry[]): string[] {
  const scheduled = new Set<string>();
  const over = new Map<string, string>();
  const faults: string[] = [];
  for (const { type, token = "", seq } of history) {
    if (type === "effect-scheduled") {
      if (scheduled.has(token)) faults.push(`${token} was scheduled twice`);
      scheduled.add(token);
    }
    if (!OVER.includes(type)) continue;
    if (!scheduled.has(token)) faults.push(`${token} is over (${type}, line ${seq}) and was never scheduled`);
    if (over.has(token)) faults.push(`${token} is ${type} after it was ${over.get(token)}`);
    over.set(token, type);
  }
  for (const token of scheduled) if (!over.has(token)) faults.push(`${token} never came to an end`);
  if (history.filter(({ type }) => type === "finished").length > 1) faults.push("finished twice");
  if (history.some(({ seq }, at) => seq !== at + 1)) faults.push("its history has gaps");
  return faults;
}

/** By the store's clock: a timer fires once, and not before its time. */
function timersInTime(history: readonly HistoryEntry[]): string[] {
  const dueAt = new Map<string, number>();
  const faults: string[] = [];
  for (const { type, token = "", note = "", at } of history) {
    if (type === "timer-set") dueAt.set(token, Date.parse(note));
    if (type === "timer-cancelled") dueAt.delete(token);
    if (type !== "timer-fired") continue;
    const due = dueAt.get(token);
    if (due === undefined) faults.push(`timer ${token} fired though it was not set`);
    else if (at < due) faults.push(`timer ${token} fired ${due - at} ms early`);
    dueAt.delete(token);
  }
  return faults;
}

function eventsOnce(history: readonly HistoryEntry[]): string[] {
  const ids = history.filter(({ type }) => type === "event").map(({ note = "" }) => note.replace(/:.*/, ""));
  return ids.length > new Set(ids).size ? [`an event was taken twice: ${ids.join(", ")}`] : [];
}

/** A run that failed has undone what it did, the last first; one that succeeded has not. */
function undoneInReverse({ status, facts }: RunRecord, history: readonly HistoryEntry[]): string[] {
  if (facts.workflow !== "order" || status === "running") return [];
  const undo: Readonly<Record<string, string>> = { charge: "refund", ship: "recall" };
  const undone = history.filter(({ type }) => type === "compensated").map(({ actor }) => actor);
  const done = history.flatMap(({ type, actor = "" }) =>
    type === "effect-completed" && undo[actor] !== undefined ? [undo[actor]] : [],
  );
  const expected = status === "succeeded" ? [] : done.toReversed();
  return undone.join() === expected.join() ? [] : [`undid ${undone.join()} instead of ${expected.join()}`];
}

/** Each completed effect was asked for; attempts go up one by one, however often each was made. */
function attemptsCounted(id: string, history: readonly HistoryEntry[], { server }: Simulated): string[] {
  return history
    .filter(
      ({ type, actor }) =>
        (type === "effect-completed" || type === "compensated") &&
        !["each", "asked", "child"].includes(actor ?? ""),
    )
    .flatMap(({ token, attempt = 0 }) => {
      const made = server.attempts.get(`${id}/${token}`) ?? [];
      const numbers = [...new Set(made)];
      const expected = Array.from({ length: attempt }, (_, at) => at + 1);
      return numbers.join() === expected.join() && attempt <= (MAX_ATTEMPTS[""] ?? 0)
        ? []
        : [`${token} ended at attempt ${attempt}, but its function saw ${made.join()}`];
    });
}

/** What a run came to, as far as it does not depend on who was faster. */
export function outcomes(world: Simulated): Map<string, string> {
  return new Map(
    [...world.runs]
      .filter(([, { record }]) => record.facts.workflow !== "race")
      .map(([id, { record }]) => [
        // A child's id has its parent's transition in it, which depends on who was faster.
        id.replace(/\.\d+\.\d+$/, ".child"),
        `${record.status} ${JSON.stringify(record.output ?? record.error ?? null).replaceAll(/\.\d+\.\d+/g, ".child")}`,
      ]),
  );
}
