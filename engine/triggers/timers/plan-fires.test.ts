import { expect, test } from "vitest";
import type { TimeTrigger } from "../../../api/kinds/index.ts";
import { scheduleOf } from "../../../net/calendar/schedule.ts";
import { planFires } from "./plan-fires.ts";

const MINUTE = 60_000;
const NONE = { type: "name", name: "hello" } as const;
/** A timer of every minute, whose first undecided time is 0, looked at so many minutes later. */
function plan(spec: Partial<TimeTrigger["spec"]>, nowMs: number, jitterMs = 0) {
  const whole = { cron: "* * * * *", functionref: NONE, ...spec };
  return planFires({
    spec: whole,
    schedule: scheduleOf(whole, -MINUTE),
    nextMs: 0,
    nowMs,
    jitterOf: () => jitterMs,
  });
}
const times = ({ fires }: ReturnType<typeof plan>): [number, boolean][] =>
  fires.map(({ scheduledMs, caughtUp }) => [scheduledMs / MINUTE, caughtUp]);

test("what is due fires, and what comes next is known", () => {
  expect(plan({}, 3)).toEqual({
    fires: [{ scheduledMs: 0, caughtUp: false }],
    missed: undefined,
    lastMs: 0,
    next: { scheduledMs: MINUTE, dueMs: MINUTE },
  });
});

test("after a downtime the last time is made up for, by default; the others are missed and counted", () => {
  const found = plan({}, 5 * MINUTE + 30_000);
  expect(times(found)).toEqual([[5, true]]);
  expect(found.missed).toMatchObject({
    outcome: "Missed",
    missed: 5,
    scheduledTime: "1970-01-01T00:04:00.000Z",
  });
  expect(found.next?.scheduledMs).toBe(6 * MINUTE);
});

test("nothing is made up for when the platform comes back just when a time is due: that one is the last", () => {
  const found = plan({}, 5 * MINUTE + 2_000);
  expect(times(found)).toEqual([[5, false]]);
  expect(found.missed).toMatchObject({ missed: 5 });
});

test("catchUp none, all, and all with a limit", () => {
  const at = 5 * MINUTE + 30_000;
  expect(times(plan({ catchUp: "none" }, at))).toEqual([]);
  expect(plan({ catchUp: "none" }, at).missed).toMatchObject({ missed: 6 });
  const all = plan({ catchUp: "all" }, at);
  expect(times(all).map(([minute]) => minute)).toEqual([0, 1, 2, 3, 4, 5]);
  expect(all.missed).toBeUndefined();
  const some = plan({ catchUp: "all", catchUpLimit: 2 }, at);
  expect(times(some)).toEqual([
    [4, true],
    [5, true],
  ]);
  expect(some.missed).toMatchObject({ missed: 4 });
});

test("what is later than its deadline is missed", () => {
  const found = plan({ catchUp: "all", startingDeadlineSeconds: 100 }, 5 * MINUTE + 30_000);
  expect(times(found).map(([minute]) => minute)).toEqual([4, 5]);
  expect(times(plan({ startingDeadlineSeconds: 20 }, 5 * MINUTE + 30_000))).toEqual([]);
  expect(times(plan({ startingDeadlineSeconds: 1 }, 5 * MINUTE + 2_000))).toEqual([]);
});

test("a second's timer that was looked at late by some seconds loses none of them", () => {
  const found = plan({ cron: "* * * * * *" }, 4_500);
  expect(found.fires.map(({ scheduledMs }) => scheduledMs)).toEqual([0, 1_000, 2_000, 3_000, 4_000]);
  expect(found.fires.every(({ caughtUp }) => !caughtUp)).toBe(true);
  expect(found.missed).toBeUndefined();
});

test("a year of seconds is decided on at once", () => {
  const found = plan({ cron: "* * * * * *" }, 365 * 24 * 3_600_000);
  expect(found.fires).toHaveLength(11);
  expect(found.missed).toMatchObject({ missed: 1_000, message: "Counted up to 1000" });
});

test("jitter puts off: a time is due, late and missed by when it was to fire", () => {
  const found = plan({}, 20_000, 20_000);
  expect(times(found)).toEqual([[0, false]]);
  expect(found.next).toEqual({ scheduledMs: MINUTE, dueMs: MINUTE + 20_000 });
  expect(times(plan({}, 5 * MINUTE + 10_000, 20_000))).toEqual([[4, true]]);
});

test("after the last time nothing is next", () => {
  expect(plan({ endTime: "1970-01-01T00:00:30Z" }, 5).next).toBeUndefined();
});
