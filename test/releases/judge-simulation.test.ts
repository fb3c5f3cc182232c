import { describe, expect, it } from "vitest";
import { planOf } from "../../controller/canary/plan.ts";
import type { Version } from "./made-up-traffic.ts";
import { BUSY_MACHINE, type Noise } from "./noisy-traffic.ts";
import { simulateRelease } from "./simulated-release.ts";

const plan = planOf({
  trigger: "t",
  newfunction: "n",
  oldfunction: "o",
  steps: [10, 25, 50].map((weight) => ({ weight, duration: "20s" })),
});
const usual: Version = { errorRate: 0.005, medianMs: 20, sigma: 0.6 };
const outcomes = (count: number, versions: { old: Version; new: Version }, perSecond = 30, noise?: Noise) =>
  Array.from({ length: count }, (_, seed) => simulateRelease(plan, versions, { perSecond, seed, noise }));
const share = (releases: readonly { outcome: string }[], outcome: string): number =>
  releases.filter((each) => each.outcome === outcome).length / releases.length;

describe("identical versions", () => {
  it.each([
    { what: "few errors, usual latency", version: usual, count: 500 },
    { what: "no errors", version: { ...usual, errorRate: 0 }, count: 400 },
    { what: "many errors, still below the limit", version: { ...usual, errorRate: 0.05 }, count: 400 },
    {
      what: "latency all over the place",
      version: { errorRate: 0.01, medianMs: 80, sigma: 1.5 },
      count: 400,
    },
  ])("are taken back in 1 % of the releases at most: $what", ({ version, count }) => {
    const releases = outcomes(count, { old: version, new: version });
    expect(share(releases, "failed")).toBeLessThanOrEqual(0.01);
    expect(share(releases, "running")).toBe(0);
  });
});

describe("on a busy machine, where requests are slow together and the new side has fresh pods", () => {
  it.each([
    { what: "usual latency", version: usual },
    { what: "a millisecond", version: { errorRate: 0, medianMs: 1, sigma: 0.4 } },
    { what: "all requests alike", version: { ...usual, sigma: 0.2 } },
    { what: "several old pods", version: usual, noise: { ...BUSY_MACHINE, oldPods: 4 } },
  ])(
    "identical versions are taken back in 1 % of the releases at most: $what",
    ({ version, noise = BUSY_MACHINE }) => {
      const releases = outcomes(300, { old: version, new: version }, 50, noise);
      expect(share(releases, "failed")).toBeLessThanOrEqual(0.01);
      expect(share(releases, "running")).toBe(0);
    },
  );
  it("one that takes twice as long is taken back all the same", () => {
    const releases = outcomes(100, { old: usual, new: { ...usual, medianMs: 40 } }, 50, BUSY_MACHINE);
    expect(share(releases, "failed")).toBeGreaterThan(0.97);
  });
});

describe("a worse version", () => {
  it("is taken back when it fails for 3 % more", () => {
    const releases = outcomes(150, { old: usual, new: { ...usual, errorRate: 0.035 } }, 100);
    expect(share(releases, "failed")).toBeGreaterThan(0.97);
  });
  it("is taken back when it takes 1.3 times as long", () => {
    const releases = outcomes(100, { old: usual, new: { ...usual, medianMs: 26 } }, 100);
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
