import type { ActorFacts, ErrorFacts, RetryRule } from "../definition/definition.ts";
import type { Effect } from "./run-record.ts";

/** Classes that no rule without an `on` of its own retries. */
const PERMANENT: readonly string[] = [
  "Fission.PermanentError",
  "Fission.InvalidPath",
  // Somebody stopped the child run.
  "run_cancelled",
  "run_terminated",
];
const ALL = "Fission.All";

/** Undoing what was done is worth more than one try, also when nobody says so. */
const COMPENSATION_RETRY: RetryRule = {
  maxAttempts: 10,
  backoffBaseMs: 1_000,
  backoffCapMs: 60_000,
  factor: 2,
  jitter: 0.2,
};
const DEFAULT_ATTEMPT_TIMEOUT_MS = 300_000;

type ClassRule = Omit<RetryRule, "perClass" | "on">;

/**
 * The effect's next attempt after a failure, or undefined when it has failed for good. Failures are counted per visit of the state and per rule: a class
 * with a rule of its own does not use up the tries of the others.
 */
export function nextAttempt(
  effect: Effect,
  actor: ActorFacts | undefined,
  error: ErrorFacts,
  now: number,
  random: () => number,
): Effect | undefined {
  const found = ruleFor(effect, actor, error);
  if (!found) return undefined;
  const failures = (effect.failures?.[found.name] ?? 0) + 1;
  if (failures >= found.rule.maxAttempts) return undefined;
  const notBefore = now + pauseMs(found.rule, failures, random);
  if (notBefore >= (totalEndsAt(effect, actor) ?? Infinity)) return undefined;
  const { waiting: _over, ...rest } = effect;
  return {
    ...rest,
    attempt: effect.attempt + 1,
    attemptAt: notBefore,
    notBefore,
    failures: { ...effect.failures, [found.name]: failures },
  };
}

function ruleFor(
  effect: Effect,
  actor: ActorFacts | undefined,
  error: ErrorFacts,
): { name: string; rule: ClassRule } | undefined {
  const own = actor && actor.kind !== "map" ? actor.retry : undefined;
  const rule = own ?? (effect.compensates ? COMPENSATION_RETRY : undefined);
  if (!rule) return undefined;
  const perClass = rule.perClass?.[error.type];
  if (perClass) return { name: error.type, rule: perClass };
  const retried = rule.on
    ? rule.on.includes(error.type) || rule.on.includes(ALL)
    : !error.permanent && !PERMANENT.includes(error.type);
  return retried ? { name: "", rule } : undefined;
}

/** Exponential from the base up to the cap; `jitter` of it is random. */
export function pauseMs(rule: ClassRule, failures: number, random: () => number): number {
  const whole = Math.min(rule.backoffCapMs, rule.backoffBaseMs * rule.factor ** (failures - 1));
  return Math.round(whole * (1 - rule.jitter * random()));
}

/** When the time of all attempts together is over. */
export function totalEndsAt(
  effect: Pick<Effect, "startedAt">,
  actor: ActorFacts | undefined,
): number | undefined {
  const total = actor && actor.kind !== "map" ? actor.totalTimeoutMs : undefined;
  return total === undefined ? undefined : effect.startedAt + total;
}

/** How long one attempt may take; undefined = without limit: people who are asked, and runs with deadlines of their own. */
export function attemptTimeoutMs(actor: ActorFacts | undefined): number | undefined {
  if (!actor || actor.kind === "map") return undefined;
  if (actor.kind === "workflow") return actor.attemptTimeoutMs;
  return actor.attemptTimeoutMs ?? (actor.waitForCallback ? undefined : DEFAULT_ATTEMPT_TIMEOUT_MS);
}

/** When the present attempt has timed out, by the limits of the attempt and of all attempts. */
export function attemptEndsAt(
  effect: Pick<Effect, "startedAt" | "attemptAt">,
  actor: ActorFacts | undefined,
): number | undefined {
  const attempt = attemptTimeoutMs(actor);
  const end = Math.min(effect.attemptAt + (attempt ?? Infinity), totalEndsAt(effect, actor) ?? Infinity);
  return end === Infinity ? undefined : end;
}

/** Until when somebody else may take to complete the effect, or to give a sign of life. */
export function waitsUntil(
  effect: Pick<Effect, "startedAt" | "attemptAt">,
  actor: ActorFacts | undefined,
  now: number,
): number | undefined {
  const end = attemptEndsAt(effect, actor);
  const heartbeat = actor?.kind === "function" ? actor.heartbeatMs : undefined;
  const beat = heartbeat === undefined ? undefined : now + heartbeat;
  return end === undefined || beat === undefined ? (end ?? beat) : Math.min(end, beat);
}
