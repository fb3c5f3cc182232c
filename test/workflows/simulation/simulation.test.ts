import { afterAll, describe, expect, it } from "vitest";
import { faultsOf, outcomes } from "./check-world.ts";
import { type Faults, NO_FAULTS } from "./worker-life.ts";
import { simulate, type Simulated } from "./world.ts";

/*
 * Worlds of some 60 runs on three workers in virtual time. What happens in them follows from the seed alone: a failure here fails again under its seed.
 */

const RUNS = 60;
const SEEDS = Number(process.env["SIMULATION_SEEDS"] ?? 22);
const FIRST_SEED = Number(process.env["SIMULATION_FIRST_SEED"] ?? 1);
const FAULTS: Faults = {
  crash: 0.002,
  pause: 0.0005,
  lostConnection: 0.01,
  lostWakeUp: 0.1,
  duplicate: 0.1,
  lostAnswer: 0.02,
  hostAway: 0.02,
};

const total = new Map<string, number>();
const add = (what: string, more: number): void => void total.set(what, (total.get(what) ?? 0) + more);

function tally(world: Simulated): void {
  for (const [what, times] of world.counts) add(what, times);
  for (const attempts of world.server.attempts.values()) add("steps", attempts.length);
  for (const { record } of world.runs.values()) {
    add("runs", 1);
    add("commits", record.version);
  }
}

afterAll(() => {
  const sum = (begin: string): number =>
    [...total].filter(([what]) => what.startsWith(begin)).reduce((all, [, times]) => all + times, 0);
  const points = [...total]
    .filter(([what]) => what.startsWith("crash "))
    .map(([what, times]) => `${what.slice(6)} ${times}`);
  console.log(
    [
      `simulated: ${sum("steps")} steps, ${sum("commits")} commits, ${sum("runs")} runs, seeds ${FIRST_SEED}..${FIRST_SEED + SEEDS - 1}`,
      `crashes: ${sum("crash ")} (${points.sort().join(", ")})`,
      `standstills: ${sum("pause ")}, lost connections: ${sum("lost connection ")}, lost wake-ups: ${sum("lost wake-up")}, lost answers: ${sum("lost answer")}`,
    ].join("\n"),
  );
});

describe("workflows in virtual time", () => {
  it("come to the same end with crashes, standstills, lost and doubled deliveries as without", {
    timeout: 900_000,
  }, async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      const calm = await simulate(seed, RUNS, NO_FAULTS, 0);
      const stormy = await simulate(seed, RUNS, FAULTS, 0);
      for (const world of [calm, stormy]) {
        tally(world);
        expect(faultsOf(world), `seed ${seed}`).toEqual([]);
      }
      expect(Object.fromEntries(outcomes(stormy)), `seed ${seed}`).toEqual(
        Object.fromEntries(outcomes(calm)),
      );
    }
  });

  it("are undone in order when they are cancelled at any moment", { timeout: 600_000 }, async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS / 4; seed++) {
      const world = await simulate(seed, RUNS, FAULTS, 0.5);
      tally(world);
      expect(faultsOf(world), `seed ${seed}`).toEqual([]);
    }
  });

  it("go the same way under the same seed", async () => {
    const [one, other] = [await simulate(7, 12, FAULTS, 0.2), await simulate(7, 12, FAULTS, 0.2)];
    const lines = (world: Simulated): string[] =>
      [...world.runs].flatMap(([id, { history }]) =>
        history.map((entry) => `${id} ${JSON.stringify(entry)}`),
      );
    expect(lines(other)).toEqual(lines(one));
  });
});
