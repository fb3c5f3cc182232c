import { parseDurationMs } from "../../../api/duration.ts";
import type { Function as FunctionObject } from "../../../api/kinds/index.ts";
import type { InvocationPolicy } from "./accept.ts";

const HOUR_MS = 3_600_000;
const LONGEST_AGE_MS = 7 * 24 * HOUR_MS;

const DEFAULT_POLICY: InvocationPolicy = {
  maxAttempts: 3,
  backoffBaseMs: 1_000,
  backoffCapMs: 300_000,
  jitter: true,
  maxAgeMs: 6 * HOUR_MS,
};

/** How a function's invocations are tried: as its `spec.invocation` says, else as everywhere. `overrides` win. */
export function policyOf(
  spec: FunctionObject["spec"]["invocation"],
  overrides: Partial<InvocationPolicy> = {},
): InvocationPolicy {
  const retry = spec?.retry;
  return {
    maxAttempts: retry?.maxAttempts || DEFAULT_POLICY.maxAttempts,
    backoffBaseMs: duration(retry?.backoffBase) ?? DEFAULT_POLICY.backoffBaseMs,
    backoffCapMs: duration(retry?.backoffCap) ?? DEFAULT_POLICY.backoffCapMs,
    jitter: retry?.jitter ?? DEFAULT_POLICY.jitter,
    maxAgeMs: Math.min(duration(spec?.maxAge) ?? DEFAULT_POLICY.maxAgeMs, LONGEST_AGE_MS),
    ...overrides,
  };
}

/** What cannot be read was refused or reported when the object was written: the default holds. */
function duration(text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  try {
    return parseDurationMs(text);
  } catch {
    return undefined;
  }
}

/** Pause after the given number of failures (from 1): doubling up to the cap, half of it random. */
export function backoffMs(policy: InvocationPolicy, failures: number, random: () => number): number {
  const whole = Math.min(policy.backoffCapMs, policy.backoffBaseMs * 2 ** Math.min(failures - 1, 40));
  return Math.round(policy.jitter ? whole / 2 + random() * (whole / 2) : whole);
}
