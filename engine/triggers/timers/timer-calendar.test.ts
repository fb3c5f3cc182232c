import { expect, test } from "vitest";
import type { TimeTrigger } from "../../../api/kinds/index.ts";
import { upcoming } from "../../../net/calendar/schedule.ts";
import { timerCalendar } from "./timer-calendar.ts";

const FROM = Date.parse("2027-03-01T00:00:00Z");
function calendarOf(spec: Partial<TimeTrigger["spec"]>, uid = "one") {
  const found = timerCalendar({
    apiVersion: "fission.io/v1",
    kind: "TimeTrigger",
    metadata: { namespace: "default", name: "t", uid, creationTimestamp: "2027-01-01T00:00:00Z" },
    spec: { cron: "* * * * *", functionref: { type: "name", name: "hello" }, ...spec },
  });
  if (!found) throw new Error("no calendar");
  return found;
}
const TIMES = 200;

test("jitter spreads over all of it, the same on every replica and another for each trigger", () => {
  const jitters = (uid: string) => {
    const { schedule, jitterOf } = calendarOf({ jitter: "30s" }, uid);
    return upcoming(schedule, FROM, TIMES).map(jitterOf);
  };
  const found = jitters("one");
  expect(jitters("one")).toEqual(found);
  expect(jitters("two")).not.toEqual(found);
  expect(Math.min(...found)).toBeLessThan(3_000);
  expect(Math.max(...found)).toBeGreaterThan(27_000);
  expect(Math.max(...found)).toBeLessThan(30_000);
});

test("with more jitter than there is between two times, none overtakes another and none waits for another", () => {
  for (const cron of ["* * * * *", "0 9,10 * * *", "@every 90s"]) {
    const { schedule, jitterOf } = calendarOf({ cron, jitter: "3h" });
    const due = upcoming(schedule, FROM, TIMES).map((at) => ({ at, due: at + jitterOf(at) }));
    for (const [index, { due: before }] of due.entries()) {
      const after = due[index + 1];
      if (after) expect(before).toBeLessThan(after.at);
    }
  }
});

test("nothing is put off beyond the end", () => {
  const endTime = "2027-03-01T00:10:05Z";
  const { schedule, jitterOf } = calendarOf({ jitter: "1h", endTime });
  const times = upcoming(schedule, FROM, TIMES);
  expect(times).toHaveLength(10);
  for (const at of times) expect(at + jitterOf(at)).toBeLessThan(Date.parse(endTime));
});

test("other calls of the same times are no other calendar; another zone, span or jitter is", () => {
  const { digest } = calendarOf({});
  expect(calendarOf({ body: "x", catchUp: "all", concurrencyPolicy: "Forbid" }).digest).toBe(digest);
  for (const spec of [{ timeZone: "Asia/Kathmandu" }, { endTime: "2030-01-01T00:00:00Z" }, { jitter: "1s" }])
    expect(calendarOf(spec).digest).not.toBe(digest);
});
