import { expect, it } from "vitest";
import { LATENCY_BUCKET_BOUNDS_MS as bounds } from "../../../api/wire/counters.ts";
import { judge } from "./judge.ts";
import type { Window } from "./window.ts";

/** All requests take `ms`; with `tailMs` one in ten takes that. */
const side = (requests: number, ms: number, tailMs = ms): Window["old"] => {
  const at = bounds.findIndex((bound) => bound >= ms);
  const tail = bounds.findIndex((bound) => bound >= tailMs);
  return {
    requests,
    serverErrors: 0,
    clientErrors: 0,
    platformErrors: 0,
    buckets: bounds.map(
      (_, i) => (i === at ? requests - requests / 10 : 0) + (i === tail ? requests / 10 : 0),
    ),
  };
};
const rules = {
  gates: { maxErrorRateIncrease: 0.5, maxP50Ratio: 1.15, maxP95Ratio: 1.25, maxP99Ratio: 1.5 },
  minSamples: 100,
  countClientErrors: false,
};
const verdict = (oldMs: number, newMs: number, oldTailMs = oldMs, newTailMs = newMs) => {
  const sides = { old: side(1_900, oldMs, oldTailMs), new: side(100, newMs, newTailMs) };
  const tenth = {
    old: sides.old.buckets.map((each) => each / 10),
    new: sides.new.buckets.map((each) => each / 10),
  };
  return judge(
    {
      ...sides,
      blocks: Array.from({ length: 10 }, () => tenth),
      names: { old: "a", new: "b" },
      bounds,
    },
    rules,
    0.001,
  ).verdict;
};

it("takes a difference of less than a millisecond for the machine's, however large the ratio", () => {
  expect(verdict(0.6, 0.9)).toBe("good");
  expect(verdict(6, 9)).toBe("bad");
});

it("takes a tail of some milliseconds for one moment of a busy machine, a longer one for the code's", () => {
  expect(verdict(1, 1, 2.4, 5.6)).toBe("good");
  expect(verdict(1, 1, 24, 56)).not.toBe("good");
});
