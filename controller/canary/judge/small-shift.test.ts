import { expect, it } from "vitest";
import { LATENCY_BUCKET_BOUNDS_MS as bounds } from "../../../api/wire/counters.ts";
import { judge, type Window } from "./judge.ts";

const side = (requests: number, ms: number): Window["old"] => {
  const at = bounds.findIndex((bound) => bound >= ms);
  return {
    requests,
    serverErrors: 0,
    clientErrors: 0,
    platformErrors: 0,
    buckets: bounds.map((_, i) => (i === at ? requests : 0)),
  };
};
const rules = {
  gates: { maxErrorRateIncrease: 0.5, maxP50Ratio: 1.15, maxP95Ratio: 1.25, maxP99Ratio: 1.5 },
  minSamples: 100,
  countClientErrors: false,
};
const verdict = (oldMs: number, newMs: number) =>
  judge(
    { old: side(1_900, oldMs), new: side(100, newMs), names: { old: "a", new: "b" }, bounds },
    rules,
    0.001,
  ).verdict;

it("takes a difference of less than a millisecond for the machine's, however large the ratio", () => {
  expect(verdict(0.6, 0.9)).toBe("good");
  expect(verdict(6, 9)).toBe("bad");
});
