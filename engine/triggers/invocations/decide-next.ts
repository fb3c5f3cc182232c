import type { Outcome } from "../delivery/event.ts";
import type { Invocation, Settlement } from "./journal.ts";
import { backoffMs } from "./policy.ts";

const OVERLOAD_JITTER = 0.5;
const LONGEST_PAUSE_MS = 3_600_000;

/**
 * What becomes of an invocation after a delivery: 2xx is done; what may go well later is tried again while it has attempts left and is not too old;
 * all else is a dead letter. What the platform could not take uses up no attempt.
 * @param nowMs by the clock that `ageFrom` is by
 */
export function decideNext(
  invocation: Pick<Invocation, "policy" | "failures" | "ageFrom">,
  outcome: Outcome,
  nowMs: number,
  random: () => number,
): Settlement {
  if (outcome.kind === "failed") return afterFailure(invocation, outcome, nowMs, random);
  if (outcome.kind === "rejected") return { kind: "dead", failure: outcome.failure };
  if (outcome.kind === "overloaded") {
    const delayMs = Math.min(outcome.afterMs * (1 + OVERLOAD_JITTER * random()), LONGEST_PAUSE_MS);
    return { kind: "again", delayMs: Math.round(delayMs), counts: false, failure: outcome.failure };
  }
  const { status, headers, body } = outcome;
  return { kind: "done", result: { status, headers, body } };
}

function afterFailure(
  { policy, failures, ageFrom }: Pick<Invocation, "policy" | "failures" | "ageFrom">,
  { failure, afterMs = 0 }: Extract<Outcome, { kind: "failed" }>,
  nowMs: number,
  random: () => number,
): Settlement {
  if (failures + 1 >= policy.maxAttempts) return { kind: "dead", failure };
  // Whoever asks for more than the longest pause is asked again before.
  const longestMs = Math.max(LONGEST_PAUSE_MS, policy.backoffCapMs);
  const delayMs = Math.min(Math.max(backoffMs(policy, failures + 1, random), afterMs), longestMs);
  // It would be too old by then.
  if (nowMs + delayMs >= ageFrom + policy.maxAgeMs) return { kind: "dead", failure };
  return { kind: "again", delayMs, counts: true, failure };
}
