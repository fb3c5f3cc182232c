import { parseDurationMs } from "../../api/duration.ts";
import { UsageError } from "../command.ts";

export interface CanaryStep {
  weight: number;
  /** How long the step lasts at least. */
  duration?: string;
  /** Wait here until somebody promotes. */
  pause?: boolean;
}

/** What `--canary` and `--steps` stand for, for help. */
export const STEPS_PLACEHOLDER = "<5%,25%:5m,50%:pause>";

/**
 * Reads `5%,25%:5m,50%:pause`: growing weights, each with how long it lasts or with a wait for approval.
 * @throws {UsageError} naming the step
 */
export function parseSteps(text: string, flag: string): CanaryStep[] {
  const steps = text.split(",").map((part) => parseStep(part.trim(), flag));
  for (const [at, { weight }] of steps.entries()) {
    const before = steps[at - 1]?.weight ?? 0;
    if (weight <= before)
      throw new UsageError(`${flag} must name growing weights, got ${weight} % after ${before} %`);
  }
  return steps;
}

function parseStep(text: string, flag: string): CanaryStep {
  const match = /^(\d{1,3})%?(?::(.+))?$/.exec(text);
  const weight = Number(match?.[1]);
  if (!match || weight < 1 || weight > 100)
    throw new UsageError(`${flag} must be weights of 1..100 % such as 5%,25%:5m,50%:pause, got "${text}"`);
  const what = match[2];
  if (what === undefined) return { weight };
  if (what === "pause") return { weight, pause: true };
  try {
    parseDurationMs(what);
  } catch {
    throw new UsageError(`${flag}: what follows ":" must be a duration such as 5m, or pause, got "${text}"`);
  }
  return { weight, duration: what };
}
