import { assert, constant, constantFrom, integer, oneof, property, record } from "fast-check";
import { expect, test } from "vitest";
import { scheduleOf, upcoming } from "./schedule.ts";

const at = (text: string): number => Date.parse(text);
const shown = (times: number[]): string[] =>
  times.map((time) => new Date(time).toISOString().replace(".000Z", "Z"));
const next = (cron: string, timeZone: string, after: string, count: number): string[] =>
  shown(upcoming(scheduleOf({ cron, timeZone }, 0), at(after), count));

test("what has a fixed hour comes once on the day that lacks it, and once on the day that has it twice", () => {
  // 02:00 → 03:00 on 29 March, 03:00 → 02:00 on 25 October.
  expect(next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2)).toEqual([
    "2026-03-29T01:00:00Z",
    "2026-03-30T00:30:00Z",
  ]);
  expect(next("30 2,14 * * *", "Europe/Berlin", "2026-03-28T14:00:00Z", 2)).toEqual([
    "2026-03-29T01:00:00Z",
    "2026-03-29T12:30:00Z",
  ]);
  expect(next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2)).toEqual([
    "2026-10-25T00:30:00Z",
    "2026-10-26T01:30:00Z",
  ]);
});

test("what has a step goes by elapsed time through both", () => {
  expect(next("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 4)).toEqual([
    "2026-10-25T00:30:00Z",
    "2026-10-25T01:00:00Z",
    "2026-10-25T01:30:00Z",
    "2026-10-25T02:00:00Z",
  ]);
  expect(next("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3)).toEqual([
    "2026-03-29T00:30:00Z",
    "2026-03-29T01:00:00Z",
    "2026-03-29T01:30:00Z",
  ]);
});

test("zones that move by half an hour, at midnight, or skip a day", () => {
  expect(next("0 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", 2)).toEqual([
    "2026-04-04T15:30:00Z",
    "2026-04-04T16:30:00Z",
  ]);
  // Midnight of 4 November 2018 did not exist there.
  expect(next("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", 2)).toEqual([
    "2018-11-04T03:00:00Z",
    "2018-11-05T02:00:00Z",
  ]);
  // Nor did the whole of 30 December 2011.
  expect(next("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 2)).toEqual([
    "2011-12-29T22:00:00Z",
    "2011-12-30T22:00:00Z",
  ]);
});

test("leap days, ends of months, names, seconds, zone in the text", () => {
  expect(next("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2)).toEqual([
    "2028-02-29T00:00:00Z",
    "2032-02-29T00:00:00Z",
  ]);
  expect(next("0 0 31 * *", "UTC", "2026-03-31T00:00:00Z", 2)).toEqual([
    "2026-05-31T00:00:00Z",
    "2026-07-31T00:00:00Z",
  ]);
  expect(next("15 0 9 * JAN MON-TUE", "UTC", "2026-12-30T00:00:00Z", 2)).toEqual([
    "2027-01-04T09:00:15Z",
    "2027-01-05T09:00:15Z",
  ]);
  expect(next("CRON_TZ=Asia/Kolkata 0 9 * * *", "", "2026-01-01T00:00:00Z", 1)).toEqual([
    "2026-01-01T03:30:00Z",
  ]);
  expect(next("@weekly", "UTC", "2026-11-23T00:00:00Z", 1)).toEqual(["2026-11-29T00:00:00Z"]);
});

test("@every keeps its phase whenever it is asked, also after a restart", () => {
  const made = at("2026-01-01T00:00:07Z");
  const every = scheduleOf({ cron: "@every 90s" }, made);
  expect(every.next(made - 5_000)).toBe(made + 90_000);
  expect(every.next(made)).toBe(made + 90_000);
  expect(every.next(made + 90_000)).toBe(made + 180_000);
  assert(
    property(integer({ min: 0, max: 1e12 }), (later) => {
      const found = every.next(made + later) ?? 0;
      expect((found - made) % 90_000).toBe(0);
      expect(found).toBeGreaterThan(made + later);
      expect(found).toBeLessThanOrEqual(made + later + 90_000);
    }),
  );
});

test("nothing before the start, what comes at the start counts, nothing from the end on", () => {
  const span = { startTime: "2026-06-01T09:00:00Z", endTime: "2026-06-03T09:00:00Z" };
  const daily = scheduleOf({ cron: "0 9 * * *", ...span }, 0);
  expect(shown(upcoming(daily, at("2026-01-01T00:00:00Z"), 10))).toEqual([
    "2026-06-01T09:00:00Z",
    "2026-06-02T09:00:00Z",
  ]);
  const every = scheduleOf({ cron: "@every 24h", ...span }, at("2026-01-01T00:00:07Z"));
  expect(shown(upcoming(every, 0, 10))).toEqual(["2026-06-02T09:00:00Z"]);
});

// Schedules whose fields have wildcards, so that a minute matches exactly by its local fields.
const CRON = record({
  minute: oneof(
    constant("*"),
    constantFrom("*/5", "*/7", "*/15"),
    integer({ min: 0, max: 59 }).map((n) => `*/20,${n}`),
  ),
  hour: constantFrom("*", "*/3", "*/6"),
});
const ZONES = Intl.supportedValuesOf("timeZone");
const INSTANT = integer({ min: at("2005-01-01T00:00:00Z"), max: at("2035-01-01T00:00:00Z") });

function localMinute(format: Intl.DateTimeFormat, time: number): { hour: number; minute: number } {
  const parts = Object.fromEntries(
    format.formatToParts(time).map(({ type, value }) => [type, Number(value)]),
  );
  return { hour: parts["hour"] ?? NaN, minute: parts["minute"] ?? NaN };
}
function matches(field: string, value: number): boolean {
  return field.split(",").some((part) => {
    if (part === "*") return true;
    const step = /^\*\/(\d+)$/.exec(part)?.[1];
    return step === undefined ? Number(part) === value : value % Number(step) === 0;
  });
}

test("in every zone, at any time: the next time matches the fields, and no minute before it does", () => {
  assert(
    property(CRON, constantFrom(...ZONES), INSTANT, ({ minute, hour }, timeZone, after) => {
      const format = new Intl.DateTimeFormat("en", {
        timeZone,
        hour: "numeric",
        minute: "numeric",
        hourCycle: "h23",
      });
      const found = scheduleOf({ cron: `${minute} ${hour} * * *`, timeZone }, 0).next(after) ?? NaN;
      const matching = (time: number): boolean => {
        const local = localMinute(format, time);
        return matches(minute, local.minute) && matches(hour, local.hour);
      };
      expect(found).toBeGreaterThan(after);
      expect(matching(found)).toBe(true);
      const firstMinute = Math.floor(after / 60_000) * 60_000 + 60_000;
      for (let time = firstMinute; time < found; time += 60_000) expect(matching(time)).toBe(false);
    }),
    { numRuns: 120 },
  );
});

test("the latest times up to a moment are those that come next from before, in every zone", () => {
  const crons = constantFrom(
    "*/7 * * * *",
    "30 2 * * *",
    "0 0,12 * * *",
    "15 30 1 * * *",
    "0 9 1 * *",
    "@every 37m",
  );
  assert(
    property(
      crons,
      constantFrom(...ZONES),
      INSTANT,
      integer({ min: 1, max: 6 }),
      (cron, timeZone, from, count) => {
        const zone = cron.startsWith("@") ? {} : { timeZone };
        const schedule = scheduleOf({ cron, ...zone }, at("2001-02-03T04:05:06Z"));
        const times = upcoming(schedule, from, 8);
        const until = times.at(-1) ?? NaN;
        expect(schedule.latest(until, count)).toEqual(times.slice(-count));
        expect(schedule.latest(until - 1, count)).toEqual(times.slice(-count - 1, -1));
      },
    ),
    { numRuns: 60 },
  );
});

test("in every zone, each local day has exactly one daily time, around every change of its clock", () => {
  assert(
    property(
      constantFrom(...ZONES),
      INSTANT,
      integer({ min: 0, max: 23 }),
      integer({ min: 0, max: 59 }),
      (timeZone, from, hour, minute) => {
        const daily = scheduleOf({ cron: `${minute} ${hour} * * *`, timeZone }, 0);
        const day = new Intl.DateTimeFormat("en-CA", { timeZone, dateStyle: "short" });
        const days = upcoming(daily, from, 40).map((time) => day.format(time));
        expect(new Set(days).size).toBe(40);
        // A day that did not exist at all (a move over the date line) has none.
        const span = (Date.parse(days.at(-1) ?? "") - Date.parse(days[0] ?? "")) / 86_400_000;
        expect(span).toBeGreaterThanOrEqual(39);
        expect(span).toBeLessThanOrEqual(40);
      },
    ),
    { numRuns: 50 },
  );
});
