import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CanarySide } from "../../api/kinds/canary.ts";
import { NO_TRAFFIC } from "./counts.ts";
import {
  CANARY_COMMANDS,
  type CanaryState,
  decide,
  decideDeleted,
  isFinished,
  type Observation,
} from "./decide.ts";
import { planOf } from "./plan.ts";

const side = (name: string): CanarySide => ({ name, function: "shop", uid: "u", revision: name });
const sides = { old: side("shop-v1"), new: side("shop-v2") };
const plan = planOf({
  trigger: "shop",
  newfunction: "shop-v2",
  oldfunction: "shop-v1",
  steps: [{ weight: 10, duration: "2s" }, { weight: 40, duration: "2s", pause: true }, { weight: 80 }],
  maxHold: "20s",
});
const START = Date.parse("2026-01-01T00:00:00Z");

/** What one second brings. */
interface Second {
  readonly command: Observation["command"];
  readonly sides: "both" | "gone" | "taken";
  readonly warmth: "ready" | "waiting" | "failed";
  readonly traffic: "none" | "good" | "bad";
  /** Whether the weight could be written. */
  readonly writes: boolean;
}
const second: fc.Arbitrary<Second> = fc.record({
  command: fc.option(fc.constantFrom(...CANARY_COMMANDS), { nil: undefined, freq: 9 }),
  sides: fc.oneof(
    { weight: 20, arbitrary: fc.constant<Second["sides"]>("both") },
    { weight: 1, arbitrary: fc.constantFrom<Second["sides"][]>("gone", "taken") },
  ),
  warmth: fc.oneof(
    { weight: 20, arbitrary: fc.constant<Second["warmth"]>("ready") },
    { weight: 1, arbitrary: fc.constantFrom<Second["warmth"][]>("waiting", "failed") },
  ),
  traffic: fc.oneof(
    { weight: 10, arbitrary: fc.constant<Second["traffic"]>("good") },
    { weight: 1, arbitrary: fc.constantFrom<Second["traffic"][]>("none", "bad") },
  ),
  writes: fc.boolean(),
});

const counted = (requests: number, serverErrors: number) => ({
  ...NO_TRAFFIC.old,
  requests,
  serverErrors,
  buckets: [...Array.from({ length: 12 }, () => 0), requests],
});

/** One look at the world, then the write of the weight. */
function after(state: CanaryState, given: Second, at: number): CanaryState {
  const errors = given.traffic === "bad" ? 60 : 0;
  const now = { old: counted(300, 0), new: counted(given.traffic === "none" ? 0 : 120, errors) };
  const counts = state.phase === "progressing" || state.phase === "holding" ? now : state.counts;
  const decided = decide({ ...state, ...(counts ? { counts } : {}) }, plan, {
    now: new Date(START + at * 1_000),
    generation: 1,
    sides: given.sides === "both" ? sides : { problem: "it went elsewhere", isOver: given.sides === "taken" },
    alias: "shop-live",
    command: given.command,
    recent: { ...NO_TRAFFIC, names: { old: "shop-v1", new: "shop-v2" }, bounds: [] },
    warmth: given.warmth === "failed" ? { failed: "SyntaxError" } : given.warmth,
  });
  return given.writes ? { ...decided, applied: true } : decided;
}

describe("whatever happens to a release", () => {
  test("its weight only grows by its steps, falls to nothing at once, and ends whole", () => {
    fc.assert(
      fc.property(fc.array(second, { minLength: 1, maxLength: 60 }), (seconds) => {
        let state: CanaryState = {};
        for (const [at, given] of seconds.entries()) {
          const before = state;
          state = after(before, given, at);
          const [was, is] = [before.weight ?? 0, state.weight ?? 0];
          if (is > was) expect([10, 40, 80, 100]).toContain(is);
          else if (is < was) expect(is).toBe(0);
          if (is > was && given.command !== "promote") expect(given.sides).toBe("both");
          if (isFinished(state)) expect(is).toBe(state.phase === "succeeded" ? 100 : 0);
          if (isFinished(before) && !(before.applied && given.command === "retry"))
            expect([state.phase, state.weight]).toEqual([before.phase, before.weight]);
          expect((state.decisions ?? []).length).toBeLessThanOrEqual(50);
          expect((state.past ?? []).length).toBeLessThanOrEqual(20);
        }
        const end = decideDeleted(state, new Date(START + 100_000));
        if (end.weight !== undefined) expect([0, 100]).toContain(end.weight);
        if (end.weight === 100) expect(["succeeded", "waiting"]).toContain(end.phase);
        expect(decideDeleted(end, new Date(START + 200_000))).toBe(end);
      }),
      { numRuns: 1_000 },
    );
  });
});
