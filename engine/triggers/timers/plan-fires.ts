import type { TimeTrigger, TimerFire } from "../../../api/kinds/index.ts";
import type { Schedule } from "../../../net/calendar/schedule.ts";
import type { Next } from "./fire-journal.ts";

/** What is to be done about the times of a schedule that have come. */
export interface FirePlan {
  readonly fires: readonly { readonly scheduledMs: number; readonly caughtUp: boolean }[];
  readonly missed: TimerFire | undefined;
  /** The latest time that is decided on. */
  readonly lastMs: number;
  readonly next: Next | undefined;
}

export interface PlanInput {
  readonly spec: TimeTrigger["spec"];
  readonly schedule: Schedule;
  /** The first time that is not decided on yet. */
  readonly nextMs: number;
  readonly nowMs: number;
  /** By how much a time is put off. */
  readonly jitterOf: (scheduledMs: number) => number;
}

/** A fire that comes so late is still the one that was due, and nothing that is made up for. */
const ON_TIME_MS = 10_000;
/** No fire is taken at the very millisecond: with a deadline of nothing, none would ever come. */
const SHORTEST_DEADLINE_MS = 1_000;
const DEFAULT_CATCH_UP_LIMIT = 100;
/** Missed times are counted one by one up to here. */
const COUNTED = 1_000;

/**
 * Decides on every time of a schedule from `nextMs` to now. What is at most 10 s late fires. Of what is later, `catchUp` says what fires now: nothing, the
 * last, or the latest `catchUpLimit`; never what is later than `startingDeadlineSeconds`. All else is missed, and said so. Pure.
 */
export function planFires(input: PlanInput): FirePlan {
  const { spec, schedule, nextMs, nowMs } = input;
  const due = dueTimes(input);
  const lastMs = due.at(-1) ?? nextMs;
  const deadlineMs =
    spec.startingDeadlineSeconds === undefined
      ? Infinity
      : Math.max(spec.startingDeadlineSeconds * 1_000, SHORTEST_DEADLINE_MS);
  const latenessOf = (at: number): number => nowMs - at - input.jitterOf(at);
  const inTime = due.filter((at) => latenessOf(at) <= deadlineMs);
  const current = inTime.filter((at) => latenessOf(at) <= ON_TIME_MS);
  const late = inTime.filter((at) => latenessOf(at) > ON_TIME_MS);
  const caughtUp = madeUpFor(spec, late, current.length > 0);
  const fires = [
    ...caughtUp.map((scheduledMs) => ({ scheduledMs, caughtUp: true })),
    ...current.map((scheduledMs) => ({ scheduledMs, caughtUp: false })),
  ];
  return {
    fires,
    missed: missedOf(input, new Set(fires.map(({ scheduledMs }) => scheduledMs)), lastMs),
    lastMs,
    next: nextOf(schedule, lastMs, input.jitterOf),
  };
}

/** The first time after `afterMs`, with when it is due. */
export function nextOf(
  schedule: Schedule,
  afterMs: number,
  jitterOf: PlanInput["jitterOf"],
): Next | undefined {
  const scheduledMs = schedule.next(afterMs);
  return scheduledMs === undefined ? undefined : { scheduledMs, dueMs: scheduledMs + jitterOf(scheduledMs) };
}

/** The latest times that are due, at least all that could fire. */
function dueTimes({ spec, schedule, nextMs, nowMs, jitterOf }: PlanInput): number[] {
  // The common case costs one look at the calendar.
  if ((schedule.next(nextMs) ?? Infinity) > nowMs) return [nextMs];
  const most = Math.max(spec.catchUpLimit ?? DEFAULT_CATCH_UP_LIMIT, ON_TIME_MS / 1_000) + 1;
  const times = schedule.latest(nowMs, most).filter((at) => at >= nextMs);
  const notYet = times.findIndex((at) => at + jitterOf(at) > nowMs);
  const due = notYet < 0 ? times : times.slice(0, notYet);
  return due.length > 0 ? due : [nextMs];
}

function madeUpFor(spec: TimeTrigger["spec"], late: readonly number[], current: boolean): readonly number[] {
  const catchUp = spec.catchUp ?? "last";
  if (catchUp === "none" || late.length === 0) return [];
  if (catchUp === "last") return current ? [] : late.slice(-1);
  return late.slice(-(spec.catchUpLimit ?? DEFAULT_CATCH_UP_LIMIT));
}

function missedOf(
  { schedule, nextMs, nowMs }: PlanInput,
  fired: ReadonlySet<number>,
  lastMs: number,
): TimerFire | undefined {
  let missed = 0;
  if (fired.has(nextMs) && (schedule.next(nextMs) ?? Infinity) > lastMs) return undefined;
  let latest = nextMs;
  let at: number | undefined = nextMs;
  for (let seen = 0; at !== undefined && at <= lastMs && seen < COUNTED; seen++) {
    if (!fired.has(at)) {
      missed++;
      latest = at;
    }
    at = schedule.next(at);
  }
  if (missed === 0) return undefined;
  const more = at !== undefined && at <= lastMs;
  return {
    scheduledTime: new Date(latest).toISOString(),
    time: new Date(nowMs).toISOString(),
    outcome: "Missed",
    missed,
    ...(more ? { message: `Counted up to ${COUNTED}` } : {}),
  };
}
