import { describe, expect, it } from "vitest";
import { planOf } from "../../controller/canary/plan.ts";
import { simulateRelease, type Version } from "./simulated-release.ts";

const plan = planOf({
  trigger: "t",
  newfunction: "n",
  oldfunction: "o",
  steps: [10, 25, 50].map((weight) => ({ weight, duration: "20s" })),
});
const usual: Version = { errorRate: 0.005, medianMs: 20, sigma: 0.6 };
const outcomes = (count: number, versions: { old: Version; new: Version }, perSecond = 30) =>
  Array.from({ length: count }, (_, seed) => simulateRelease(plan, versions, { perSecond, seed }));
const share = (releases: readonly { outcome: string }[], outcome: string): number =>
  releases.filter((each) => each.outcome === outcome).length / releases.length;

describe("identical versions", () => {
  it.each([
    { what: "few errors, usual latency", version: usual, count: 800 },
    { what: "no errors", version: { ...usual, errorRate: 0 }, count: 400 },
    { what: "many errors, still below the limit", version: { ...usual, errorRate: 0.05 }, count: 400 },
    {
      what: "latency all over the place",
      version: { errorRate: 0.01, medianMs: 80, sigma: 1.5 },
      count: 500,
    },
  ])("are taken back in 1 % of the releases at most: $what", ({ version, count }) => {
    const releases = outcomes(count, { old: version, new: version });
    expect(share(releases, "failed")).toBeLessThanOrEqual(0.01);
    expect(share(releases, "running")).toBe(0);
  });
});

describe("a worse version", () => {
  it("is taken back when it fails for 3 % more", () => {
    const releases = outcomes(150, { old: usual, new: { ...usual, errorRate: 0.035 } }, 100);
    expect(share(releases, "failed")).toBeGreaterThan(0.97);
  });
  it("is taken back when it takes 1.3 times as long", () => {
    const releases = outcomes(150, { old: usual, new: { ...usual, medianMs: 26 } }, 100);
    expect(share(releases, "failed")).toBeGreaterThan(0.97);
  });
  it("is taken back within 5 s when it breaks down", () => {
    for (const release of outcomes(50, { old: usual, new: { ...usual, errorRate: 1 } }, 100))
      expect(release).toMatchObject({
        outcome: "failed",
        seconds: expect.toSatisfy((value: number) => value <= 5),
      });
  });
});
