import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { FunctionSlot } from "./function-table.ts";
import { Revision } from "./revision.ts";
import { Split } from "./split.ts";

const revision = new Revision("uid", "r", {
  limits: { queueLength: 1, queueWaitMs: 1, coldStartWaitMs: 1, scaleUpDelayMs: 1, scaleUpAboveMs: 1 },
  now: () => 0,
  acquire: () => Promise.resolve(false),
});

const slotOf = (version: string, serves = true): FunctionSlot => ({
  key: `n/f@${version}`,
  namespace: "n",
  name: "f",
  version,
  uid: "uid",
  resourceVersion: "1",
  serving: undefined,
  unread: undefined,
  current: serves ? revision : undefined,
  next: undefined,
  routes: 0,
});

/** Random numbers that a test can repeat (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function countOf(requests: number, next: () => FunctionSlot): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < requests; i += 1) {
    const { version } = next();
    counts[version] = (counts[version] ?? 0) + 1;
  }
  return counts;
}

describe("without a key", () => {
  test("every hundred requests are split exactly, in an order of their own", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 }), fc.integer(), (weight, seed) => {
        const [a, b] = [slotOf("v1"), slotOf("v2")];
        const split = new Split(
          [
            { slot: a, weight: 100 - weight },
            { slot: b, weight },
          ],
          { random: seeded(seed) },
        );
        for (let hundred = 0; hundred < 5; hundred += 1) {
          const counts = countOf(100, () => split.next());
          expect([counts["v1"] ?? 0, counts["v2"] ?? 0]).toEqual([100 - weight, weight]);
        }
      }),
      { numRuns: 50 },
    );
  });

  test("weights that add up to something else are shares of their sum", () => {
    const split = new Split(
      ["a", "b", "c"].map((name, i) => ({ slot: slotOf(name), weight: [1, 2, 4][i] ?? 0 })),
    );
    expect(countOf(7_000, () => split.next())).toEqual({ a: 1_000, b: 2_000, c: 4_000 });
  });
});

describe("with a key", () => {
  const keys = Array.from({ length: 10_000 }, (_, i) => `user-${i}`);

  test.each([1, 5, 25, 50, 99])("%i percent of 10,000 keys are within one percent of it", (weight) => {
    const split = new Split([
      { slot: slotOf("v1"), weight: 100 - weight },
      { slot: slotOf("v2"), weight },
    ]);
    const hits = keys.filter((key) => split.ofKey(key).version === "v2").length;
    expect(Math.abs(hits - weight * 100)).toBeLessThanOrEqual(100);
  });

  test("who has the new version keeps it as its weight grows, and who has the old one as it falls", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 2, maxLength: 6 }),
        fc.array(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 50 }),
        (weights, people) => {
          const [a, b] = [slotOf("v1"), slotOf("v2")];
          let had = new Set<string>();
          for (const weight of weights.toSorted((x, y) => x - y)) {
            const split = new Split([
              { slot: a, weight: 100 - weight },
              { slot: b, weight },
            ]);
            const have = new Set(people.filter((key) => split.ofKey(key) === b));
            expect([...had].filter((key) => !have.has(key))).toEqual([]);
            had = have;
          }
        },
      ),
    );
  });

  test("with three and more, the one that grows alone loses nobody, and the others win nobody", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 3, maxLength: 6 }),
        fc.integer({ min: 1, max: 50 }),
        (weights, more) => {
          const slots = weights.map((_, i) => slotOf(`v${i}`));
          const splitOf = (extra: number) =>
            new Split(slots.map((slot, i) => ({ slot, weight: (weights[i] ?? 0) + (i === 0 ? extra : 0) })));
          const [before, after] = [splitOf(0), splitOf(more)];
          for (const key of keys.slice(0, 200)) {
            const now = after.ofKey(key);
            if (now !== slots[0]) expect(now).toBe(before.ofKey(key));
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  test("another release takes other people first", () => {
    const first = (versions: [string, string]) => {
      const split = new Split([
        { slot: slotOf(versions[0]), weight: 95 },
        { slot: slotOf(versions[1]), weight: 5 },
      ]);
      return keys.filter((key) => split.ofKey(key).version === versions[1]);
    };
    const again = new Set(first(["v2", "v3"]));
    const both = first(["v1", "v2"]).filter((key) => again.has(key));
    expect(both.length).toBeLessThan(60);
  });

  test("all routers agree, in whatever order the choices stand", () => {
    const [a, b] = [slotOf("v1"), slotOf("v2")];
    const one = new Split([
      { slot: a, weight: 30 },
      { slot: b, weight: 70 },
    ]);
    const other = new Split([
      { slot: b, weight: 70 },
      { slot: a, weight: 30 },
    ]);
    expect(keys.filter((key) => one.ofKey(key) !== other.ofKey(key))).toEqual([]);
  });
});

test("what serves nothing gets nothing while another one serves, what has no weight never does, and it is told once", () => {
  const [gone, serves, dark] = [slotOf("v1", false), slotOf("v2"), slotOf("v3")];
  const told: string[] = [];
  const split = new Split(
    [
      { slot: gone, weight: 90 },
      { slot: serves, weight: 10 },
      { slot: dark, weight: 0 },
    ],
    { onAbsent: ({ version }) => told.push(version) },
  );
  expect(countOf(500, () => split.next())).toEqual({ v2: 500 });
  let i = 0;
  expect(countOf(500, () => split.ofKey(`key-${i++}`))).toEqual({ v2: 500 });
  expect(told).toEqual(["v1"]);
  gone.current = revision;
  expect(countOf(100, () => split.next())["v2"]).toBeLessThan(50);
  gone.current = undefined;
  serves.current = undefined;
  expect(["v1", "v2"]).toContain(split.next().version);
});
