import { backoffMs } from "../../../kube/backoff.ts";
import type { Failure, Outcome } from "../delivery/event.ts";

export interface RetryPolicy {
  /** Tries after the first. */
  readonly maxRetries: number;
  readonly baseMs: number;
  readonly maxMs: number;
}

/** What becomes of a message after a delivery. */
export type Fate =
  | { readonly kind: "done"; readonly answer: Extract<Outcome, { kind: "done" }> }
  /** `counts`: an attempt was used up. */
  | { readonly kind: "again"; readonly delayMs: number; readonly counts: boolean; readonly failure: Failure }
  /** To the error topic, or to the dead letters. */
  | { readonly kind: "bury"; readonly failure: Failure };

/** Longest pause that a function can ask for with `Retry-After`. */
const MAX_ASKED_MS = 300_000;

/**
 * @param attempt from 1
 */
export function decideFate(
  outcome: Outcome,
  attempt: number,
  policy: RetryPolicy,
  random: () => number = Math.random,
): Fate {
  if (outcome.kind === "done") return { kind: "done", answer: outcome };
  const { failure } = outcome;
  if (outcome.kind === "rejected") return { kind: "bury", failure };
  if (outcome.kind === "overloaded") {
    const delayMs = Math.min(Math.max(outcome.afterMs, 10), MAX_ASKED_MS);
    return { kind: "again", delayMs, counts: false, failure };
  }
  if (attempt > policy.maxRetries) return { kind: "bury", failure };
  const asked = Math.min(outcome.afterMs ?? 0, MAX_ASKED_MS);
  return {
    kind: "again",
    delayMs: Math.max(backoffMs(attempt, policy, random), asked),
    counts: true,
    failure,
  };
}
