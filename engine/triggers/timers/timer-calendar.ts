import { createHash } from "node:crypto";
import { parseDurationMs } from "../../../api/duration.ts";
import type { TimeTrigger } from "../../../api/kinds/index.ts";
import { scheduleFault } from "../../../net/calendar/cron-fault.ts";
import { type Schedule, scheduleOf } from "../../../net/calendar/schedule.ts";

/** When a trigger comes due. */
export interface TimerCalendar {
  readonly schedule: Schedule;
  /**
   * By how much a time is put off: the same for every replica, spread evenly over `spec.jitter`, or over what is left until the next time or the end where
   * that is less. So no time overtakes another, and none comes after the end.
   */
  readonly jitterOf: (scheduledMs: number) => number;
  /** Another one = its times are others. */
  readonly digest: string;
}

/** Undefined: the schedule is none (the controller says why), or nothing is to fire. */
export function timerCalendar({ metadata, spec }: TimeTrigger): TimerCalendar | undefined {
  const jitterMs = durationOf(spec.jitter);
  if (spec.suspend || jitterMs === undefined || scheduleFault(spec) !== undefined) return undefined;
  const { cron, timeZone, startTime, endTime } = spec;
  const madeMs = madeAt({ metadata });
  const schedule = scheduleOf({ cron, timeZone, startTime, endTime }, madeMs);
  const endMs = endTime === undefined ? Infinity : Date.parse(endTime);
  return {
    schedule,
    jitterOf: (scheduledMs) => {
      if (jitterMs === 0) return 0;
      const roomMs = Math.min(schedule.next(scheduledMs) ?? Infinity, endMs) - scheduledMs;
      return Math.floor(shareOf(`${metadata.uid ?? ""}/${scheduledMs}`) * Math.min(jitterMs, roomMs));
    },
    digest: hashOf(JSON.stringify([cron, timeZone, startTime, endTime, jitterMs])).toString(
      "base64url",
      0,
      16,
    ),
  };
}

/** Milliseconds since 1970; `@every` counts from here. */
export const madeAt = ({ metadata }: Pick<TimeTrigger, "metadata">): number =>
  Date.parse(metadata.creationTimestamp ?? "") || 0;

const hashOf = (text: string): Buffer => createHash("sha256").update(text).digest();
const shareOf = (text: string): number => hashOf(text).readUInt32BE(0) / 2 ** 32;

function durationOf(text: string | undefined): number | undefined {
  if (text === undefined || text === "") return 0;
  try {
    return parseDurationMs(text);
  } catch {
    return undefined;
  }
}
