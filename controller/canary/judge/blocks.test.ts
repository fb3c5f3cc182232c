import { describe, expect, it } from "vitest";
import { LATENCY_BUCKET_BOUNDS_MS as bounds } from "../../../api/wire/counters.ts";
import type { Block } from "../counts.ts";
import { planOf } from "../plan.ts";
import { judge } from "./judge.ts";
import { studentUpperTail } from "./tails.ts";

/** `requests` of so many milliseconds. */
const taking = (ms: number, requests: number): number[] => {
  const at = bounds.findIndex((bound) => ms <= bound);
  return bounds.map((_, i) => (i === at ? requests : 0));
};
const both = (a: readonly number[], b: readonly number[]): number[] => a.map((each, i) => each + (b[i] ?? 0));
const plan = planOf({ trigger: "t", newfunction: "n", oldfunction: "o" });
const judged = (blocks: readonly Block[]) => {
  const side = (name: "old" | "new") => {
    const buckets = blocks.map((block) => block[name]).reduce<number[]>(both, taking(1, 0));
    const requests = buckets.reduce((sum, each) => sum + each, 0);
    return { requests, serverErrors: 0, clientErrors: 0, platformErrors: 0, buckets };
  };
  return judge(
    { old: side("old"), new: side("new"), names: { old: "v1", new: "v2" }, bounds, blocks },
    plan,
    0.001,
  );
};
/** Blocks of 300 and 100 requests of 20 ms, but where told otherwise. */
const blocks = (count: number, slow: (at: number) => number): Block[] =>
  Array.from({ length: count }, (_, at) => ({
    old: taking(20, 300),
    new: both(taking(20, 100 - slow(at)), taking(90, slow(at))),
  }));

describe("latency is judged by stretches of time", () => {
  it("requests that were slow together in one of them prove nothing, however many", () => {
    expect(judged(blocks(12, (at) => (at === 7 ? 100 : 0))).verdict).not.toBe("bad");
    expect(judged(blocks(12, (at) => (at === 2 || at === 9 ? 100 : 0))).verdict).not.toBe("bad");
  });

  it("as many that are slow all the time do", () => {
    expect(judged(blocks(12, (at) => 8 + (at % 3))).verdict).toBe("bad");
  });

  it("what was slow at first alone is let go on", () => {
    expect(judged(blocks(12, (at) => Math.max(0, 100 - 20 * at))).verdict).toBe("good");
  });

  it("requests of fresh pods alone are no all-clear", () => {
    const [block] = blocks(1, () => 100);
    const { old, new: next } = block ?? { old: [], new: [] };
    const counts = { serverErrors: 0, clientErrors: 0, platformErrors: 0 };
    const window = {
      old: { ...counts, requests: 300, buckets: old },
      new: { ...counts, requests: 100, buckets: next },
      names: { old: "v1", new: "v2" },
      bounds,
      blocks: [{ old, new: taking(90, 29) }],
    };
    expect(judge(window, plan, 0.001)).toEqual({
      verdict: "few",
      sentence:
        "v2 had 29 requests in this step since its pods are warm: at least 30 are needed to judge its latency",
    });
  });

  it("in too short a time there is no proof, and no all-clear either", () => {
    const finding = judged(blocks(4, () => 100));
    expect(finding).toMatchObject({ verdict: "unclear", sentence: expect.stringContaining("median") });
  });

  it("a difference of less than half of what is allowed is none, over however many requests", () => {
    const few = Array.from({ length: 12 }, () => ({
      old: both(taking(20, 9_000), taking(25, 1_000)),
      new: both(taking(20, 8_800), taking(25, 1_200)),
    }));
    expect(judged(few).verdict).toBe("good");
  });
});

describe("Student's distribution", () => {
  it("agrees with the tables", () => {
    expect(studentUpperTail(12.7062, 1)).toBeCloseTo(0.025, 6);
    expect(studentUpperTail(2.228139, 10)).toBeCloseTo(0.025, 6);
    expect(studentUpperTail(4.1437, 15)).toBeCloseTo(0.00043385, 5);
    expect(studentUpperTail(-1, 1)).toBeCloseTo(0.75, 9);
    expect(studentUpperTail(0, 7)).toBeCloseTo(0.5, 12);
    expect([studentUpperTail(9, 0.5), studentUpperTail(Number.NaN, 9)]).toEqual([1, 1]);
  });
});
