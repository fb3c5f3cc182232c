import { describe, expect, it } from "vitest";
import type { CanaryConfig } from "../../api/kinds/index.ts";
import { parseCommandLine } from "../parse-flags.ts";
import { applyGates, applySteps, GATE_FLAGS, STEP_FLAGS } from "./canary-flags.ts";

const BASE: CanaryConfig["spec"] = { trigger: "shop", newfunction: "b", oldfunction: "a" };

/** The spec that a command line makes of `spec`. */
function specOf(args: string[], spec: CanaryConfig["spec"] = BASE): CanaryConfig["spec"] {
  const { flags, given } = parseCommandLine({ flags: { ...STEP_FLAGS, ...GATE_FLAGS } }, args);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- these are the values of those flags
  const values = flags as Parameters<typeof applyGates>[1] & Parameters<typeof applySteps>[1];
  return applyGates(applySteps(spec, values), values, given);
}

describe("flags of a canary", () => {
  it("of the reference system", () => {
    expect(specOf(["--step", "30", "--internal", "90s", "--threshold", "5"])).toEqual({
      ...BASE,
      weightincrement: 30,
      duration: "90s",
      failurethreshold: 5,
    });
  });

  it("of steps and gates", () => {
    const args =
      "--steps 5%,50%:pause --max-error-rate 1.5% --max-p95 250ms --max-p99-ratio 2 --max-hold 2h --observe-only --no-prewarm";
    expect(specOf(args.split(" "))).toEqual({
      ...BASE,
      steps: [{ weight: 5 }, { weight: 50, pause: true }],
      gates: { maxErrorRate: 1.5, maxP95Ms: 250, maxP99Ratio: 2 },
      maxHold: "120m",
      dryRun: true,
      prewarm: false,
    });
  });

  it("leave what they do not name, and even steps replace named ones", () => {
    const before = { ...BASE, steps: [{ weight: 5 }], gates: { maxP50Ms: 10 }, minSamples: 7 };
    expect(specOf(["--step", "25", "--max-p95", "1s"], before)).toEqual({
      ...BASE,
      weightincrement: 25,
      gates: { maxP50Ms: 10, maxP95Ms: 1000 },
      minSamples: 7,
    });
  });

  it.each([
    [["--steps", "5%", "--step", "5"], "exclude each other"],
    [["--max-error-rate", "101"], "--max-error-rate must be 0..100 percent"],
    [["--max-p50-ratio", "0.5"], "--max-p50-ratio must be 1..1000"],
    [["--step", "0"], "--increment-step must be 1..100"],
  ])("%j is refused", (args, said) => expect(() => specOf(args)).toThrow(said));
});
