import { childRunKey } from "../core/child-run-key.ts";
import { type Input, timedOut } from "../core/interpret.ts";
import { effectDueAt } from "../core/next-due.ts";
import { attemptEndsAt, attemptTimeoutMs } from "../core/retry.ts";
import type { Duty, Effect, RunKey, RunRecord } from "../core/run-record.ts";
import type { ActorFacts } from "../definition/definition.ts";
import type { Lease } from "../journal/journal.ts";
import { type ItemArrivals, itemArrivals } from "./item-arrivals.ts";
import type { EffectCall, WorkerPorts } from "./ports.ts";

/**
 * The attempts of one run that this worker has under way.
 *
 * Invariants:
 * 1. An attempt begins only after the commit that holds its effect.
 * 2. An effect has at most one attempt under way here; its answer counts only while that attempt is the one.
 * 3. An attempt that has answered is under way until its answer is taken: else a commit in between would begin it again.
 */
export interface RunningEffects {
  /** Aborts what the record does not hold any more, and begins, if it may, what it holds and nobody has begun. */
  follow(record: RunRecord, actors: Readonly<Record<string, ActorFacts>>, mayBegin: boolean): void;
  has(token: string): boolean;
  /** The answers of these are in the record now. */
  taken(answers: readonly Input[]): void;
  /** Something has come for an item of a map. */
  told(token: string, item: number): void;
  /** An answer as it is to be taken now: a map that waits for what has come meanwhile goes on. */
  current(answer: Input): Input;
  abortAll(): void;
}

interface Attempt {
  readonly effect: Effect;
  readonly abort: AbortController;
  readonly arrivals: ItemArrivals;
  readonly stopClock: () => void;
  answered: boolean;
}

/** A fault of the platform's own, not of the step: tried again after this long. */
const FAULT_PAUSE_MS = 1_000;

export function runningEffects(
  lease: Lease,
  ports: WorkerPorts,
  answer: (input: Input) => void,
): RunningEffects {
  const attempts = new Map<string, Attempt>();

  const settle = (attempt: Attempt, input: Input): void => {
    if (attempts.get(attempt.effect.token) !== attempt || attempt.answered) return;
    attempt.answered = true;
    attempt.stopClock();
    answer(input);
  };
  const drop = (attempt: Attempt): void => {
    attempts.delete(attempt.effect.token);
    attempt.stopClock();
    attempt.abort.abort();
  };
  const begin = (record: RunRecord, effect: Effect, actor: ActorFacts | undefined): void => {
    const abort = new AbortController();
    const arrivals = itemArrivals();
    const endsAt = effect.duty ? undefined : endOfAttempt(effect, actor, ports.clock.now());
    let attempt: Attempt | undefined;
    const stopClock =
      endsAt === undefined
        ? () => {}
        : whenAt(ports, endsAt, () => {
            if (!attempt) return;
            abort.abort();
            settle(attempt, timedOut(effect, actor, endsAt));
          });
    attempt = { effect, abort, arrivals, stopClock, answered: false };
    attempts.set(effect.token, attempt);
    const under = attempt;
    perform({ facts: record.facts, effect, actor, lease, endsAt, arrivals }, abort.signal, ports).then(
      (input) => settle(under, input),
      (error: unknown) => {
        if (!abort.signal.aborted) ports.onFault(lease.key, `effect ${effect.token}`, error);
        settle(under, { kind: "later", token: effect.token, afterMs: FAULT_PAUSE_MS, reason: String(error) });
      },
    );
  };

  return {
    follow: (record, actors, mayBegin) => {
      for (const attempt of attempts.values()) {
        const now = record.effects[attempt.effect.token];
        if (!now || now.attempt !== attempt.effect.attempt) drop(attempt);
      }
      if (!mayBegin) return;
      for (const effect of Object.values(record.effects))
        if (!attempts.has(effect.token) && canBegin(effect, ports.clock.now()))
          begin(record, effect, actors[effect.actor]);
    },
    has: (token) => attempts.has(token),
    taken: (answers) => {
      for (const answer of answers) if ("token" in answer) attempts.delete(answer.token);
    },
    told: (token, item) => attempts.get(token)?.arrivals.told(item),
    current: (answer) =>
      (answer.kind === "waiting" || answer.kind === "later") &&
      attempts.get(answer.token)?.arrivals.pending() === true
        ? { kind: "later", token: answer.token, afterMs: 0, reason: "something came for an item" }
        : answer,
    abortAll: () => {
      for (const attempt of attempts.values()) drop(attempt);
    },
  };
}

const canBegin = (effect: Effect, now: number): boolean =>
  effect.waiting === undefined && (effectDueAt(effect) ?? 0) <= now;

/** An attempt that is made again after a crash has its whole time again, within that of all attempts. */
function endOfAttempt(effect: Effect, actor: ActorFacts | undefined, now: number): number | undefined {
  const attempt = attemptTimeoutMs(actor);
  const again = attempt === undefined ? effect : { ...effect, attemptAt: now };
  return attemptEndsAt(again, actor);
}

function whenAt(ports: WorkerPorts, at: number, call: () => void): () => void {
  let cancel = (): void => {};
  const wait = (): void => {
    const left = at - ports.clock.now();
    if (left <= 0) call();
    else cancel = ports.clock.after(left, wait);
  };
  wait();
  return () => cancel();
}

async function perform(
  call: Omit<EffectCall, "actor"> & { actor: ActorFacts | undefined },
  signal: AbortSignal,
  ports: WorkerPorts,
): Promise<Input> {
  const { effect, actor, facts } = call;
  const { token } = effect;
  if (effect.duty) {
    await doDuty(facts.key, facts.parent, effect.duty, ports);
    return { kind: "completed", token, outcome: { kind: "done", output: { value: null } } };
  }
  if (!actor) throw new Error(`Cannot begin effect ${token}: no actor "${effect.actor}"`);
  if (actor.kind === "map" && effect.map === undefined) {
    const message = `Cannot map over the input of "${effect.actor}": it must be an array or {"items": [...]}`;
    return {
      kind: "completed",
      token,
      outcome: { kind: "failed", error: { type: "Fission.InvalidPath", message } },
    };
  }
  const performed = await ports.performer.perform({ ...call, actor }, signal);
  switch (performed.kind) {
    case "waiting":
      return { kind: "waiting", token };
    case "later":
      return { kind: "later", token, afterMs: performed.afterMs, reason: performed.reason };
    default:
      return { kind: "completed", token, outcome: performed };
  }
}

/** A run that is gone, has ended or was told before needs no word: only a store that does not answer is a fault. */
async function doDuty(
  key: RunKey,
  parent: { readonly key: RunKey; readonly token: string; readonly attempt?: number } | undefined,
  duty: Duty,
  ports: WorkerPorts,
): Promise<void> {
  if (duty.kind === "tell-parent") {
    if (!parent) return;
    const { token, attempt } = parent;
    const of = attempt === undefined ? {} : { attempt };
    await ports.deliver(parent.key, { kind: "completed", token, ...of, outcome: duty.outcome });
    return;
  }
  const tokens =
    duty.items === undefined
      ? [duty.of]
      : Array.from({ length: duty.items }, (_, item) => `${duty.of}.${item}`);
  for (const token of tokens)
    for (let attempt = 1; attempt <= (duty.attempts ?? 1); attempt++) {
      const child = childRunKey(key, token, attempt);
      const { kind } = await ports.deliver(child, { kind: "cancel", reason: duty.reason });
      // Later attempts come after earlier ones.
      if (kind === "unknown") break;
    }
}
