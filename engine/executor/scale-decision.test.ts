import { array, assert, constantFrom, double, integer, property, record } from "fast-check";
import { describe, expect, it } from "vitest";
import { decideScale, initialScale, podsFor, type ScaleState, type ScaleTarget } from "./scale-decision.ts";

const TARGET: ScaleTarget = {
  requestsPerPod: 10,
  utilization: 0.8,
  requestsPerSecond: undefined,
  minPods: 0,
  maxPods: 100,
  downAfterMs: 60_000,
  toZeroAfterMs: 120_000,
};
const load = (concurrency: number, requestsPerSecond = 0) => ({ concurrency, requestsPerSecond });

const loads = record({
  concurrency: double({ min: 0, max: 5_000, noNaN: true }),
  requestsPerSecond: double({ min: 0, max: 50_000, noNaN: true }),
});
const targets = record({
  requestsPerPod: integer({ min: 1, max: 1_000 }),
  utilization: double({ min: 0.1, max: 1, noNaN: true }),
  requestsPerSecond: constantFrom(undefined, 1, 50, 1_000),
  minPods: integer({ min: 0, max: 20 }),
  maxPods: integer({ min: 1, max: 500 }),
  downAfterMs: integer({ min: 0, max: 120_000 }),
  toZeroAfterMs: integer({ min: 0, max: 300_000 }),
});
const steps = array(record({ load: loads, afterMs: integer({ min: 0, max: 30_000 }) }), {
  minLength: 1,
  maxLength: 60,
});

interface Seen {
  readonly atMs: number;
  readonly pods: number;
  readonly needed: number;
  readonly active: boolean;
}

function run(
  target: ScaleTarget,
  given: readonly { load: ReturnType<typeof load>; afterMs: number }[],
): Seen[] {
  let state: ScaleState = initialScale(0);
  let atMs = 0;
  return given.map(({ load, afterMs }) => {
    atMs += afterMs;
    const decided = decideScale(state, load, atMs, target);
    ({ state } = decided);
    const active = load.concurrency > 0 || load.requestsPerSecond > 0;
    return { atMs, pods: decided.pods, needed: podsFor(load, target), active };
  });
}

describe("the number of pods", () => {
  it("follows concurrency with room to spare", () => {
    expect(podsFor(load(0), TARGET)).toBe(0);
    expect(podsFor(load(8), TARGET)).toBe(1);
    expect(podsFor(load(8.1), TARGET)).toBe(2);
    expect(podsFor(load(80), TARGET)).toBe(10);
  });

  it("never asks one request per pod for less than itself", () => {
    const one = { ...TARGET, requestsPerPod: 1 };
    expect(podsFor(load(1), one)).toBe(1);
    expect(podsFor(load(7), one)).toBe(7);
  });

  it("follows requests per second where the function says so", () => {
    expect(podsFor(load(1, 500), { ...TARGET, requestsPerSecond: 100 })).toBe(5);
    expect(podsFor(load(80, 500), { ...TARGET, requestsPerSecond: 100 })).toBe(10);
  });

  it("stays within its bounds, whatever happens", () => {
    assert(
      property(targets, steps, (target, given) => {
        const least = Math.min(target.minPods, target.maxPods);
        for (const { pods } of run(target, given)) {
          expect(pods).toBeGreaterThanOrEqual(least);
          expect(pods).toBeLessThanOrEqual(target.maxPods);
        }
      }),
    );
  });

  it("is never lower than what is needed now and allowed", () => {
    assert(
      property(targets, steps, (target, given) => {
        for (const { pods, needed, active } of run(target, given)) {
          if (active) expect(pods).toBeGreaterThanOrEqual(Math.min(needed, target.maxPods));
        }
      }),
    );
  });

  it("is the highest that was needed within the window, as long as there are requests", () => {
    assert(
      property(targets, steps, (target, given) => {
        const seen = run(target, given);
        for (const [index, { atMs, pods, active }] of seen.entries()) {
          if (!active) continue;
          const window = seen.slice(0, index + 1).filter((one) => one.atMs > atMs - target.downAfterMs);
          const now = seen[index]?.needed ?? 0;
          const highest = Math.max(1, now, ...window.map(({ needed }) => needed));
          expect(pods).toBe(
            Math.max(Math.min(highest, target.maxPods), Math.min(target.minPods, target.maxPods)),
          );
        }
      }),
    );
  });

  it("goes to zero only after the idle time, and then at once", () => {
    assert(
      property(targets, steps, (target, given) => {
        let lastActiveMs = 0;
        for (const { atMs, pods, active } of run({ ...target, minPods: 0 }, given)) {
          if (active) lastActiveMs = atMs;
          expect(pods === 0).toBe(atMs - lastActiveMs >= target.toZeroAfterMs && !active);
        }
      }),
    );
  });

  it("does not rise when the load falls", () => {
    assert(
      property(targets, loads, loads, (target, one, other) => {
        const lower = {
          concurrency: Math.min(one.concurrency, other.concurrency),
          requestsPerSecond: Math.min(one.requestsPerSecond, other.requestsPerSecond),
        };
        expect(podsFor(lower, target)).toBeLessThanOrEqual(podsFor(one, target));
      }),
    );
  });

  it("remembers no more than the window holds", () => {
    let state = initialScale(0);
    for (let second = 0; second < 10_000; second += 1)
      ({ state } = decideScale(state, load(10_000 - second), second * 1_000, TARGET));
    expect(state.wanted.length).toBeLessThanOrEqual(61);
  });
});
