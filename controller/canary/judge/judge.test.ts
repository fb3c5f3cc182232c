import { describe, expect, it } from "vitest";
import type { SideCounts } from "../../../api/kinds/canary.ts";
import { LATENCY_BUCKET_BOUNDS_MS } from "../../../api/wire/counters.ts";
import { planOf } from "../plan.ts";
import { alphaOfLook, judge } from "./judge.ts";
import { mannWhitney, quantileMs, tailTest } from "./latency.ts";
import { runOfFailures } from "./run-of-failures.ts";
import { binomialUpperTail, fisherUpperTail, normalUpperTail } from "./tails.ts";
import type { Window } from "./window.ts";

const plan = planOf({ trigger: "t", newfunction: "n", oldfunction: "o" });
const bounds = LATENCY_BUCKET_BOUNDS_MS;

/** A side with all its requests in the bucket of one latency and its two neighbours. */
function side(requests: number, given: Partial<SideCounts> & { latencyMs?: number } = {}): SideCounts {
  const { latencyMs = 10, ...counts } = given;
  const at = bounds.findIndex((bound) => latencyMs <= bound);
  const buckets = bounds.map(() => 0);
  for (let i = 0; i < requests; i += 1) buckets[at + ((i % 3) - 1)] = (buckets[at + ((i % 3) - 1)] ?? 0) + 1;
  return { requests, serverErrors: 0, clientErrors: 0, platformErrors: 0, buckets, ...counts };
}
/** The same in each of ten stretches of time. */
const windowOf = (old: SideCounts, next: SideCounts): Window => ({
  old,
  new: next,
  blocks: Array.from({ length: 10 }, () => ({
    old: old.buckets.map((each) => each / 10),
    new: next.buckets.map((each) => each / 10),
  })),
  names: { old: "v1", new: "v2" },
  bounds,
});
const ALPHA = 0.001;

describe("the tails", () => {
  it("agree with values reached by other ways", () => {
    expect(binomialUpperTail(2, 10, 0.1)).toBeCloseTo(0.2639010709, 9);
    expect(binomialUpperTail(9, 10, 0.9)).toBeCloseTo(0.73609893, 8);
    // The lady tasting tea: 4 of 4 cups.
    expect(fisherUpperTail(4, 4, 0, 4)).toBeCloseTo(1 / 70, 12);
    expect(fisherUpperTail(3, 4, 1, 4)).toBeCloseTo(17 / 70, 12);
    expect(normalUpperTail(1.959963985)).toBeCloseTo(0.025, 7);
    expect(normalUpperTail(5) / 2.866515719e-7).toBeCloseTo(1, 5);
    expect(normalUpperTail(-1)).toBeCloseTo(0.841344746, 7);
  });

  it("are 1 where nothing speaks against a side, and stay finite for many requests", () => {
    expect(fisherUpperTail(0, 100, 5, 100)).toBe(1);
    expect(fisherUpperTail(5, 100, 5, 100)).toBe(1);
    expect(fisherUpperTail(20_400, 1e6, 20_000, 1e6)).toBeCloseTo(0.02245643105, 8);
    expect(binomialUpperTail(20_400, 1e6, 0.02)).toBeCloseTo(0.002217218956, 8);
  });
});

describe("latencies", () => {
  it("finds quantiles within a bucket's width", () => {
    const buckets = side(300, { latencyMs: 100 }).buckets;
    expect(quantileMs(buckets, bounds, 0.5)).toBeGreaterThan(80);
    expect(quantileMs(buckets, bounds, 0.5)).toBeLessThan(125);
    expect(quantileMs([], bounds, 0.5)).toBeUndefined();
  });

  it("compares by Mann-Whitney with ties, and the tails by Fisher", () => {
    expect(mannWhitney([5, 5], [5, 5]).cles).toBe(0.5);
    expect(mannWhitney([0, 10], [10, 0])).toMatchObject({ cles: 1 });
    // By the definition: U = 26, tie-corrected variance 34.909, continuity 0.5, z = 1.26938.
    expect(mannWhitney([1, 2, 3], [3, 2, 1]).p).toBeCloseTo(0.1021526, 6);
    expect(tailTest([95, 5], [95, 5], 0.95).p).toBe(1);
    expect(tailTest([80, 20], [99, 1], 0.9).p).toBeLessThan(1e-4);
  });
});

describe("a window", () => {
  it("is good when both sides are alike, and says what was compared", () => {
    const finding = judge(
      windowOf(side(900, { serverErrors: 9 }), side(100, { serverErrors: 1 })),
      plan,
      ALPHA,
    );
    expect(finding.verdict).toBe("good");
    expect(finding.sentence).toMatch(
      /^v2 fails 1\.0 % of its requests, v1 1\.0 %: 1 of 100 against 9 of 900; 95th percentile/,
    );
  });

  it("is bad when the new side fails more often beyond chance", () => {
    const finding = judge(windowOf(side(12_040), side(398, { serverErrors: 12 })), plan, ALPHA);
    expect(finding).toEqual({
      verdict: "bad",
      sentence: "v2 fails 3.0 % of its requests, v1 0.0 %: 12 of 398 against 0 of 12,040",
    });
  });

  it("is unclear when there is a suspicion and no proof", () => {
    expect(judge(windowOf(side(300), side(100, { serverErrors: 3 })), plan, 1e-9).verdict).toBe("unclear");
  });

  it.each([0, 1, 99])("says nothing from %d requests: silence is never success", (requests) => {
    const finding = judge(windowOf(side(10_000), side(requests)), plan, ALPHA);
    expect(finding.verdict).toBe("few");
  });

  it("lets what breaks everybody pass the gate against the old side, and waits at the limit", () => {
    const finding = judge(
      windowOf(side(1_000, { serverErrors: 500 }), side(1_000, { serverErrors: 500 })),
      plan,
      ALPHA,
    );
    expect(finding.verdict).toBe("unclear");
    expect(finding.sentence).toContain("v1 does no better");
  });

  it("counts 4xx only when asked", () => {
    const window = windowOf(side(1_000), side(1_000, { clientErrors: 900 }));
    expect(judge(window, plan, ALPHA).verdict).toBe("good");
    expect(judge(window, { ...plan, countClientErrors: true }, ALPHA).verdict).toBe("bad");
  });

  it("finds a slower median, a slower tail, and leaves what nobody feels", () => {
    expect(judge(windowOf(side(500), side(500, { latencyMs: 14 })), plan, ALPHA)).toMatchObject({
      verdict: "bad",
      sentence: expect.stringContaining("median"),
    });
    const tail = side(1_000);
    const fast = tail.buckets.indexOf(Math.max(...tail.buckets));
    const slower = tail.buckets.map((count, i) => (i === fast ? count - 80 : i === fast + 9 ? 80 : count));
    expect(judge(windowOf(side(1_000), { ...tail, buckets: slower }), plan, ALPHA)).toMatchObject({
      verdict: "bad",
      sentence: expect.stringContaining("95th percentile"),
    });
    expect(judge(windowOf(side(500), side(500)), plan, ALPHA).verdict).toBe("good");
  });

  it("keeps to absolute limits without an old side", () => {
    const strict = planOf({ trigger: "t", newfunction: "n", oldfunction: "o", gates: { maxP95Ms: 50 } });
    const finding = judge(windowOf(side(0), side(200, { latencyMs: 90 })), strict, ALPHA);
    expect(finding).toMatchObject({
      verdict: "bad",
      sentence: expect.stringContaining("at most 50 ms is allowed"),
    });
    expect(judge(windowOf(side(0), side(200, { latencyMs: 20 })), strict, ALPHA).verdict).toBe("good");
  });
});

describe("looking often", () => {
  it("spends no more than the budget", () => {
    const spent = Array.from({ length: 100_000 }, (_, i) => alphaOfLook(0.005, i + 1)).reduce(
      (a, b) => a + b,
    );
    expect(spent).toBeLessThanOrEqual(0.005);
  });
});

describe("a run of failures", () => {
  const limits = { maxErrorRate: 10, countClientErrors: false };
  it("is seen from five failures without a success, or from three pods that do not start", () => {
    expect(runOfFailures(windowOf(side(100), side(5, { serverErrors: 5 })), limits)).toContain(
      "failed 5 of the last 5",
    );
    expect(runOfFailures(windowOf(side(100), side(3, { platformErrors: 3 })), limits)).toContain(
      "could not be started",
    );
  });
  it("is none below the limit, from few failures, or when the old side fails as well", () => {
    expect(runOfFailures(windowOf(side(100), side(100, { serverErrors: 12 })), limits)).toBeUndefined();
    expect(runOfFailures(windowOf(side(100), side(4, { serverErrors: 4 })), limits)).toBeUndefined();
    const outage = windowOf(side(100, { serverErrors: 95 }), side(20, { serverErrors: 20 }));
    expect(runOfFailures(outage, limits)).toBeUndefined();
    expect(runOfFailures(windowOf(side(100), side(50, { clientErrors: 50 })), limits)).toBeUndefined();
  });
});
