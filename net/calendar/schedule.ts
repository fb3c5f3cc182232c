import type { ScheduleText } from "./cron-fault.ts";
import { cronOf, parseCron } from "./parse-cron.ts";

/** When a trigger comes due. Pure; times are milliseconds since 1970. */
export interface Schedule {
  /** The first time after `afterMs`, never that itself; undefined = there is none any more. */
  next(afterMs: number): number | undefined;
  /** The latest times up to `untilMs` and that itself, the latest last: `count` of them at most. */
  latest(untilMs: number, count: number): number[];
}

/**
 * The calendar of a schedule that `scheduleFault` finds nothing wrong with. Zone: `CRON_TZ=`, else `timeZone`, else UTC. `@every` keeps its phase for ever: it
 * counts from `startTime`, else from `anchorMs`. No time lies before `startTime`, none at `endTime` or after it. @throws {ScheduleFault}
 * @param anchorMs when the trigger was made
 */
export function scheduleOf(spec: ScheduleText, anchorMs: number): Schedule {
  const startMs = spec.startTime === undefined ? undefined : Date.parse(spec.startTime);
  const endMs = spec.endTime === undefined ? Infinity : Date.parse(spec.endTime);
  const calendar = unbounded(spec, startMs ?? anchorMs);
  return {
    next: (afterMs) => {
      // What comes at the start itself counts.
      const from = startMs === undefined ? afterMs : Math.max(afterMs, startMs - 1);
      const at = calendar.next(from);
      return at !== undefined && at < endMs ? at : undefined;
    },
    latest: (untilMs, count) =>
      calendar
        .latest(Math.min(untilMs, endMs - 1), count)
        .filter((at) => startMs === undefined || at >= startMs),
  };
}

function unbounded({ cron, timeZone }: ScheduleText, anchorMs: number): Schedule {
  const line = parseCron(cron);
  if (line.kind === "every") {
    const { ms } = line;
    return {
      next: (afterMs) => anchorMs + Math.max(1, Math.floor((afterMs - anchorMs) / ms) + 1) * ms,
      latest: (untilMs, count) => {
        const last = Math.floor((untilMs - anchorMs) / ms);
        const from = Math.max(1, last - count + 1);
        return Array.from({ length: Math.max(0, last - from + 1) }, (_, at) => anchorMs + (from + at) * ms);
      },
    };
  }
  return sharedCalendar(line.fields, line.timeZone ?? (timeZone || undefined));
}

const MOST_CALENDARS = 2_000;
const MOST_ANSWERS = 64;
const calendars = new Map<string, Schedule>();

/** Schedules of the same fields share a calendar and what it has found lately: thousands of them come due at the same time. */
function sharedCalendar(fields: string, timeZone: string | undefined): Schedule {
  const key = `${timeZone ?? ""} ${fields}`;
  const known = calendars.get(key);
  if (known) return known;
  const [oldest] = calendars.keys();
  if (oldest !== undefined && calendars.size >= MOST_CALENDARS) calendars.delete(oldest);
  const made = calendarOf(fields, timeZone);
  calendars.set(key, made);
  return made;
}

function calendarOf(fields: string, timeZone: string | undefined): Schedule {
  const calendar = cronOf(fields, timeZone);
  const answers = new Map<number, number | undefined>();
  return {
    next: (afterMs) => {
      if (answers.has(afterMs)) return answers.get(afterMs);
      if (answers.size >= MOST_ANSWERS) answers.clear();
      const at = calendar.nextRun(new Date(afterMs))?.getTime();
      answers.set(afterMs, at);
      return at;
    },
    latest: (untilMs, count) =>
      calendar
        // Looks at what lies before; in whole seconds.
        .previousRuns(count, new Date(Math.floor(untilMs / 1_000) * 1_000 + 1_000))
        .map((at) => at.getTime())
        .toReversed(),
  };
}

/** The next `count` times after `afterMs`, or as many as there are. */
export function upcoming(schedule: Schedule, afterMs: number, count: number): number[] {
  const times: number[] = [];
  for (let at = schedule.next(afterMs); at !== undefined && times.length < count; at = schedule.next(at))
    times.push(at);
  return times;
}
