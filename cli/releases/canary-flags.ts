import type { CanaryConfig } from "../../api/kinds/index.ts";
import { type Flags, type FlagValues, UsageError } from "../command.ts";
import { parseSteps, STEPS_PLACEHOLDER } from "./canary-steps.ts";

type Spec = CanaryConfig["spec"];

/** Flags that say when a version is good enough, for `canary create|update` and `deploy --canary`. */
export const GATE_FLAGS = {
  "max-error-rate": {
    type: "string",
    help: "Most errors of the new version in percent",
    placeholder: "<percent>",
  },
  "max-p50": { type: "duration", help: "Slowest median of the new version, such as 50ms" },
  "max-p95": { type: "duration", help: "Slowest 95th percentile, such as 250ms" },
  "max-p99": { type: "duration", help: "Slowest 99th percentile, such as 1s" },
  "max-error-increase": {
    type: "string",
    help: "Percentage points by which the new version may fail more often than the old one; default 0.5",
    placeholder: "<points>",
  },
  "max-p50-ratio": { type: "string", help: "New median by old one; default 1.15", placeholder: "<number>" },
  "max-p95-ratio": {
    type: "string",
    help: "The same for the 95th percentile; default 1.25",
    placeholder: "<number>",
  },
  "max-p99-ratio": {
    type: "string",
    help: "The same for the 99th percentile; default 1.5",
    placeholder: "<number>",
  },
  "min-samples": {
    type: "integer",
    help: "Fewest requests that each version must have had before a step is judged",
    min: 1,
    max: 1_000_000,
  },
  "max-hold": { type: "duration", help: "How long a step may wait for enough requests, such as 1h" },
  "count-client-errors": { type: "boolean", help: "Count 4xx answers as errors too" },
  prewarm: { type: "boolean", help: "Start pods before each step", default: true },
  "observe-only": { type: "boolean", help: "Judge and tell, but leave the weights alone" },
} as const satisfies Flags;

/** Flags of the steps, for `canary create|update`. */
export const STEP_FLAGS = {
  steps: { type: "string", help: "Weights one after the other", placeholder: STEPS_PLACEHOLDER },
  "increment-step": {
    type: "integer",
    aliases: ["step"],
    help: "Percent that each step adds, without --steps; default 20",
    min: 1,
    max: 100,
  },
  "increment-interval": {
    type: "duration",
    aliases: ["interval", "internal"],
    help: "How long each step lasts; default 2m",
  },
  "failure-threshold": {
    type: "integer",
    aliases: ["threshold"],
    help: "Most errors in percent; default 10",
    min: 0,
    max: 100,
  },
} as const satisfies Flags;

/** Milliseconds as the API writes durations. */
export const durationText = (ms: number): string =>
  ms % 60_000 === 0 && ms > 0 ? `${ms / 60_000}m` : ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;

/** A share such as `1.5` or `1.5%` as a fraction. @throws {UsageError} */
function percent(text: string, flag: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*%?$/.exec(text);
  const value = Number(match?.[1]);
  if (!match || value > 100) throw new UsageError(`${flag} must be 0..100 percent, got "${text}"`);
  return value;
}

/** @throws {UsageError} */
function ratio(text: string, flag: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || value < 1 || value > 1000)
    throw new UsageError(`${flag} must be 1..1000, got "${text}"`);
  return value;
}

const RATIOS = [
  ["max-p50-ratio", "maxP50Ratio"],
  ["max-p95-ratio", "maxP95Ratio"],
  ["max-p99-ratio", "maxP99Ratio"],
] as const;

type GateValues = FlagValues<typeof GATE_FLAGS>;

/** The spec with what the gate flags say; what they do not name stays. */
export function applyGates<S extends Partial<Spec>>(
  spec: S,
  flags: GateValues,
  given: ReadonlySet<string>,
): S {
  const next: S = { ...spec };
  const gates = {
    ...(flags["max-error-rate"] === undefined
      ? {}
      : { maxErrorRate: percent(flags["max-error-rate"], "--max-error-rate") }),
    ...(flags["max-error-increase"] === undefined
      ? {}
      : { maxErrorRateIncrease: percent(flags["max-error-increase"], "--max-error-increase") }),
    ...Object.fromEntries(
      RATIOS.flatMap(([flag, field]) => {
        const text = flags[flag];
        return text === undefined ? [] : [[field, ratio(text, `--${flag}`)]];
      }),
    ),
    ...(flags["max-p50"] === undefined ? {} : { maxP50Ms: flags["max-p50"] }),
    ...(flags["max-p95"] === undefined ? {} : { maxP95Ms: flags["max-p95"] }),
    ...(flags["max-p99"] === undefined ? {} : { maxP99Ms: flags["max-p99"] }),
  };
  if (Object.keys(gates).length > 0) next.gates = { ...next.gates, ...gates };
  if (flags["min-samples"] !== undefined) next.minSamples = flags["min-samples"];
  if (flags["max-hold"] !== undefined) next.maxHold = durationText(flags["max-hold"]);
  if (given.has("count-client-errors")) next.countClientErrors = flags["count-client-errors"];
  if (given.has("prewarm")) next.prewarm = flags.prewarm;
  if (given.has("observe-only")) next.dryRun = flags["observe-only"];
  return next;
}

/** The same for the flags of the steps. @throws {UsageError} */
export function applySteps(spec: Spec, flags: FlagValues<typeof STEP_FLAGS>): Spec {
  if (flags.steps && flags["increment-step"] !== undefined)
    throw new UsageError("--steps and --increment-step exclude each other");
  const next: Spec = { ...spec };
  if (flags.steps) next.steps = parseSteps(flags.steps, "--steps");
  if (flags["increment-step"] !== undefined) {
    next.weightincrement = flags["increment-step"];
    delete next.steps;
  }
  if (flags["increment-interval"] !== undefined) next.duration = durationText(flags["increment-interval"]);
  if (flags["failure-threshold"] !== undefined) next.failurethreshold = flags["failure-threshold"];
  return next;
}
