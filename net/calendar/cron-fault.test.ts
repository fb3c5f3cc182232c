import { expect, test } from "vitest";
import { scheduleFault } from "./cron-fault.ts";

test.each([
  "* * * * *",
  "*/5 0-6,22 1 JAN MON-FRI",
  "30 */5 * * * *",
  "@every 5m",
  "@every 1h30m",
  "@every 1.5s",
  "@daily",
  "@annually",
  "CRON_TZ=Europe/Berlin 0 9 * * MON",
  "  0 9 * * *  ",
  "0 0 29 2 *",
])("%s is a schedule", (expression) => {
  expect(scheduleFault({ cron: expression })).toBeUndefined();
});

test.each([
  ["", "it has 0 fields"],
  ["* * *", "it has 3 fields"],
  ["0 0 1 1 * 2030 7", "it has 7 fields"],
  ["tomorrow", "it has 1 field"],
  ["60 * * * *", "60"],
  ["* 24 * * *", "24"],
  ["* * * * MOO", "MOO"],
  ["0 0 30 2 *", "never comes due"],
  ["@fortnightly", '"@fortnightly" is not known'],
  ["@every", "the duration must be numbers with units"],
  ["@every soon", "the duration must be numbers with units"],
  ["@every 10", "the duration must be numbers with units"],
  ["@every 10ms", "at least 1s"],
  ["CRON_TZ=Mars/Base 0 9 * * *", "Mars/Base"],
])("%s is none: %s", (expression, why) => {
  const fault = scheduleFault({ cron: expression });
  expect(fault).toContain(`got ${JSON.stringify(expression)}: `);
  expect(fault).toContain("spec.cron must be five fields");
  expect(fault?.split("got ")[1]).toContain(why);
});

test.each([
  [
    { cron: "0 9 * * *", timeZone: "Mars/Base" },
    'spec.timeZone must be an IANA time zone such as "Europe/Berlin", got "Mars/Base"',
  ],
  [
    { cron: "TZ=Asia/Tokyo 0 9 * * *", timeZone: "Europe/Berlin" },
    "spec.timeZone excludes a zone in spec.cron",
  ],
  [
    { cron: "0 9 * * *", startTime: "soon" },
    'spec.startTime must be a time such as "2027-01-31T09:00:00Z", got "soon"',
  ],
  [
    { cron: "0 9 * * *", startTime: "2027-01-02T00:00:00Z", endTime: "2027-01-02T00:00:00Z" },
    "spec.endTime must be later than spec.startTime",
  ],
])("%o is no schedule: %s", (spec, why) => {
  expect(scheduleFault(spec)).toContain(why);
});

test("zone, start and end may be given", () => {
  const span = { startTime: "2027-01-01T00:00:00Z", endTime: "2027-02-01T00:00:00+01:00" };
  expect(scheduleFault({ cron: "0 9 * * *", timeZone: "Asia/Kathmandu", ...span })).toBeUndefined();
});
