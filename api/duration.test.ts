import { expect, it } from "vitest";
import { parseDurationMs } from "./duration.ts";

it.each([
  ["250ms", 250],
  ["90s", 90_000],
  ["1h30m", 5_400_000],
  ["1.5s", 1500],
  ["2d", 172_800_000],
])("reads %s", (text, expected) => {
  expect(parseDurationMs(text)).toBe(expected);
});

it.each(["", "5", "s", "-5s", "5 s", "5x", "1h30", "5s!"])("refuses %j and says what is allowed", (text) => {
  expect(() => parseDurationMs(text)).toThrow(`Cannot read the duration "${text}"`);
});
