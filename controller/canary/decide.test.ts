import { expect, it } from "vitest";
import type { CanarySide, SideCounts } from "../../api/kinds/canary.ts";
import { type CanaryState, decide, type Observation } from "./decide.ts";
import { NO_TRAFFIC } from "./counts.ts";
import { planOf } from "./plan.ts";

const T0 = Date.parse("2026-01-01T00:00:00.000Z");
const at = (seconds: number) => new Date(T0 + seconds * 1_000);
const side = (name: string): CanarySide => ({ name, function: "f", uid: "u", revision: name });
const sides = { old: side("v1"), new: side("v2") };
const good: SideCounts = {
  requests: 500,
  serverErrors: 0,
  clientErrors: 0,
  platformErrors: 0,
  buckets: [100, 300, 100],
};
const plan = planOf({
  trigger: "t",
  newfunction: "v2",
  oldfunction: "v1",
  steps: [{ weight: 20, duration: "30s" }],
});
const seenAt = (seconds: number): Observation => ({
  now: at(seconds),
  generation: 1,
  sides,
  alias: "live",
  recent: { ...NO_TRAFFIC, names: { old: "v1", new: "v2" }, bounds: [1, 2] },
  warmth: "ready",
});
const state = (readAtSeconds: number): CanaryState => ({
  ...sides,
  phase: "progressing",
  observedGeneration: 1,
  step: 0,
  weight: 20,
  applied: true,
  alias: "live",
  stepStartedAt: at(0).toISOString(),
  readAt: at(readAtSeconds).toISOString(),
  counts: { old: good, new: good },
});

it("goes on after a good step", () => {
  expect(decide(state(30), plan, seenAt(31))).toMatchObject({ phase: "warming", step: 1 });
});

it("gives no more traffic while no router tells its counters, however good those before were", () => {
  const held = decide(state(15), plan, seenAt(31));
  expect(held).toMatchObject({
    phase: "holding",
    weight: 20,
    sentence: expect.stringContaining("No router has told its counters since 2026-01-01T00:00:15.000Z"),
  });
  expect(decide({ ...held, readAt: at(40).toISOString() }, plan, seenAt(41))).toMatchObject({ step: 1 });
});
