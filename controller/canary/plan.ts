import { parseDurationMs } from "../../api/duration.ts";
import type { CanaryConfigSpec } from "../../api/kinds/canary.ts";
import type { Gates } from "./judge/window.ts";

export interface PlannedStep {
  /** Share of the new side in percent. */
  readonly weight: number;
  readonly durationMs: number;
  /** Wait for `resume` after it. */
  readonly pause: boolean;
}

/** A CanaryConfig with all its defaults filled in. */
export interface CanaryPlan {
  readonly steps: readonly PlannedStep[];
  readonly gates: Gates & { readonly maxErrorRate: number };
  readonly minSamples: number;
  /** Requests of the new side in each step whose latency is not compared: its pods are fresh. */
  readonly warmUpRequests: number;
  readonly maxHoldMs: number;
  readonly countClientErrors: boolean;
  readonly dryRun: boolean;
  readonly prewarm: boolean;
}

const DEFAULT_INCREMENT = 20;
const DEFAULT_DURATION = "2m";
const DEFAULT_THRESHOLD = 10;
const DEFAULT_MIN_SAMPLES = 100;
/** Never more than a third of what a step is judged by. */
const WARM_UP_REQUESTS = 30;
const DEFAULT_MAX_HOLD = "1h";

/** What a CanaryConfig asks for. @throws {TypeError} naming the field, its value and what is allowed */
export function planOf(spec: CanaryConfigSpec): CanaryPlan {
  const usualMs = duration("duration", spec.duration || DEFAULT_DURATION);
  const steps = spec.steps?.length
    ? spec.steps.map((step, i) => ({
        weight: step.weight,
        durationMs: step.duration ? duration(`steps[${i}].duration`, step.duration) : usualMs,
        pause: step.pause ?? false,
      }))
    : evenSteps(spec.weightincrement ?? DEFAULT_INCREMENT, usualMs);
  const falling = steps.findIndex(({ weight }, i) => weight < (steps[i - 1]?.weight ?? 0));
  if (falling > 0)
    throw new TypeError(
      `Cannot follow the steps: steps[${falling}].weight must be ${steps[falling - 1]?.weight}..100 (weights never fall), got ${steps[falling]?.weight}`,
    );
  const { gates = {}, minSamples = DEFAULT_MIN_SAMPLES } = spec;
  return {
    steps,
    gates: {
      ...gates,
      maxErrorRate: gates.maxErrorRate ?? spec.failurethreshold ?? DEFAULT_THRESHOLD,
      maxErrorRateIncrease: gates.maxErrorRateIncrease ?? 0.5,
      maxP50Ratio: gates.maxP50Ratio ?? 1.15,
      maxP95Ratio: gates.maxP95Ratio ?? 1.25,
      maxP99Ratio: gates.maxP99Ratio ?? 1.5,
    },
    minSamples,
    warmUpRequests: Math.min(WARM_UP_REQUESTS, Math.floor(minSamples / 3)),
    maxHoldMs: duration("maxHold", spec.maxHold || DEFAULT_MAX_HOLD),
    countClientErrors: spec.countClientErrors ?? false,
    dryRun: spec.dryRun ?? false,
    prewarm: spec.prewarm ?? true,
  };
}

/** As the reference system steps: the last one has 100 % and lasts as long as the others before the release has succeeded. */
function evenSteps(increment: number, durationMs: number): PlannedStep[] {
  if (increment < 1)
    throw new TypeError(`Cannot follow the steps: weightincrement must be 1..100, got ${increment}`);
  return Array.from({ length: Math.ceil(100 / increment) }, (_, i) => ({
    weight: Math.min(100, (i + 1) * increment),
    durationMs,
    pause: false,
  }));
}

function duration(field: string, text: string): number {
  try {
    return parseDurationMs(text);
  } catch {
    throw new TypeError(
      `Cannot read ${field} "${text}": allowed are numbers with ms, s, m, h or d, such as 90s or 1h30m`,
    );
  }
}
