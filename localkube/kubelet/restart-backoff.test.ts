import { expect, it } from "vitest";
import { formatWait, makeRestartBackoff, RESTART_BACKOFF } from "./restart-backoff.ts";

it("waits not at all first, then doubles up to five minutes, and starts over after a long run", () => {
  const backoff = makeRestartBackoff(RESTART_BACKOFF);
  const waits = Array.from({ length: 8 }, () => backoff.next(1000) / 1000);
  expect(waits).toEqual([0, 10, 20, 40, 80, 160, 300, 300]);
  expect(backoff.next(600_000)).toBe(0);
  expect(backoff.next(5)).toBe(10_000);
});

it.each([
  [10_000, "10s"],
  [80_000, "1m20s"],
  [300_000, "5m0s"],
])("writes %d ms as %s", (ms, text) => expect(formatWait(ms)).toBe(text));
