import { ERRORS, PlatformError } from "../../../api/errors.ts";
import type { TimerFire, TimeTrigger } from "../../../api/kinds/index.ts";
import type { AcceptInvocation } from "../invocations/accept.ts";
import { type Fire, type FireJournal, fireId } from "./fire-journal.ts";
import { timerAcceptance } from "./timer-event.ts";

/** What the queue of invocations says of the call of the fire before. */
export interface CallsUnderWay {
  /** Queued, waiting for another attempt, or running. */
  isUnderWay(invocationId: string): Promise<boolean>;
  cancel(invocationId: string): Promise<void>;
}

export interface PerformDeps {
  readonly journal: Pick<FireJournal, "around" | "settle" | "postpone" | "markTried">;
  readonly accept: AcceptInvocation;
  readonly calls: CallsUnderWay;
  readonly now: () => number;
  /** By how much a time of this trigger is put off. */
  readonly jitterOf: (scheduledMs: number) => number;
  /** After which a fire that waits for the call before looks again. */
  readonly waitMs: number;
}

/**
 * `later`: the fire before is about to be settled; this one is tried again. Else what became of it; a fire that is `waiting` stays open until the call
 * before has ended.
 */
export type Performed = TimerFire["outcome"] | "waiting" | "later";

/** Has the call of a fire accepted, as the trigger's concurrency policy allows, and settles it. Throws what may pass: the fire stays open. */
export async function performFire(deps: PerformDeps, timer: TimeTrigger, fire: Fire): Promise<Performed> {
  const { concurrencyPolicy = "Allow" } = timer.spec;
  if (concurrencyPolicy === "Forbid") return performAlone(deps, timer, fire);
  if (concurrencyPolicy === "Replace") {
    const { first, invocationId } = await deps.journal.around(fire);
    if (first && first.scheduledMs < fire.scheduledMs) return "later";
    if (invocationId !== undefined && (await deps.calls.isUnderWay(invocationId)))
      await deps.calls.cancel(invocationId);
  }
  return call(deps, timer, fire);
}

/**
 * As a CronJob does it: while the call before runs, the latest time that has come waits for its end, and starts late unless that is later than
 * `startingDeadlineSeconds`. Those that `catchUp: all` makes up for wait in turn.
 */
async function performAlone(deps: PerformDeps, timer: TimeTrigger, fire: Fire): Promise<Performed> {
  const { journal, calls } = deps;
  const { first, last, invocationId, tried } = await journal.around(fire);
  // Its call may be the one that runs: the queue tells.
  if (tried) return call(deps, timer, fire);
  if (timer.spec.suspend) return skip(deps, fire, "The trigger was suspended while it waited");
  const inTurn = fire.caughtUp && timer.spec.catchUp === "all";
  if (!inTurn && last && last.scheduledMs > fire.scheduledMs)
    return skip(
      deps,
      fire,
      invocationId === undefined
        ? "concurrencyPolicy is Forbid, and a later time came before this one was called"
        : `${described(invocationId)} still ran when a later time came`,
    );
  if (first && first.scheduledMs < fire.scheduledMs) return "later";
  if (invocationId !== undefined && (await calls.isUnderWay(invocationId))) {
    const { startingDeadlineSeconds = Infinity } = timer.spec;
    const lateMs = deps.now() - fire.scheduledMs - deps.jitterOf(fire.scheduledMs);
    if (lateMs > startingDeadlineSeconds * 1_000)
      return skip(
        deps,
        fire,
        `${described(invocationId)} still runs, and startingDeadlineSeconds (${startingDeadlineSeconds}) are over`,
      );
    await journal.postpone(fire, deps.waitMs);
    return "waiting";
  }
  await journal.markTried(fire);
  return call(deps, timer, fire);
}

const described = (invocationId: string): string =>
  `concurrencyPolicy is Forbid, and the call before (${invocationId})`;

async function skip(deps: PerformDeps, fire: Fire, message: string): Promise<Performed> {
  await deps.journal.settle(fire, entry(deps, fire, { outcome: "Skipped", message }));
  return "Skipped";
}

async function call(deps: PerformDeps, timer: TimeTrigger, fire: Fire): Promise<Performed> {
  const became = await acceptance(deps, timer, fire);
  await deps.journal.settle(fire, became);
  return became.outcome;
}

async function acceptance(deps: PerformDeps, timer: TimeTrigger, fire: Fire): Promise<TimerFire> {
  try {
    const { id } = await deps.accept(timerAcceptance(timer, fire));
    return entry(deps, fire, { outcome: fire.caughtUp ? "CaughtUp" : "Fired", invocationId: id });
  } catch (error) {
    if (!(error instanceof PlatformError) || ERRORS[error.code].retry || error.status >= 500) throw error;
    return entry(deps, fire, {
      outcome: "Failed",
      message: `${error.code}: ${error.message}`.slice(0, 1_024),
    });
  }
}

const entry = (
  { now }: PerformDeps,
  fire: Fire,
  what: Pick<TimerFire, "outcome" | "message" | "invocationId">,
): TimerFire => ({
  scheduledTime: new Date(fire.scheduledMs).toISOString(),
  time: new Date(now()).toISOString(),
  ...what,
});

/** Which fire it is, in logs. */
export const fireFields = (fire: Fire): Record<string, string> => ({ timer: fire.timer, fire: fireId(fire) });
