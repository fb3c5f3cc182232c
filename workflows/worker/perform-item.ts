import { childRunKey } from "../core/child-run-key.ts";
import { timedOut } from "../core/interpret.ts";
import type { Json } from "../core/json.ts";
import { attemptEndsAt, nextAttempt, waitsUntil } from "../core/retry.ts";
import type { Effect, Outcome } from "../core/run-record.ts";
import type { ErrorFacts, FunctionActor, MapActor } from "../definition/definition.ts";
import { LeaseLost } from "./lease-lost.ts";
import type { OpenItem } from "./map-items.ts";
import { functionOf, jittered, type PerformerDeps, targetOf } from "./performer-deps.ts";
import type { EffectCall } from "./ports.ts";

/*
 * One item of a map. Invariants:
 * 1. What a crash must not forget (the attempt, its failures, whom it waits for) is noted before it counts: a crash repeats the present attempt at most.
 * 2. What comes for the item is noted by the run's driver, with its attempt; only what is of the present attempt counts.
 */

/** The one that a map's error tells of. */
export interface FailedItem {
  readonly index: number;
  readonly error: ErrorFacts;
  readonly cause: Json | undefined;
}

/** Waits until something has come for the item, or until then. Rejects when all of the map waits, or when it has ended. */
export type Idler = (item: number, untilMs: number | undefined) => Promise<void>;

/** What is noted of an item between its attempts. */
type ItemState = Pick<Effect, "attempt" | "startedAt" | "attemptAt" | "notBefore" | "failures" | "waiting">;

/** What the driver notes when a message comes for an item. */
export interface ArrivedOutcome {
  readonly attempt: number;
  readonly outcome: Outcome;
}

/** A call that nobody limits. */
const DEFAULT_TIMEOUT_MS = 300_000;

type Step = Outcome | { readonly kind: "waiting" } | { readonly kind: "later"; readonly afterMs: number };

export async function performItem(
  deps: PerformerDeps,
  call: EffectCall,
  each: MapActor["each"],
  { index, item, state }: OpenItem,
  idle: Idler,
  signal: AbortSignal,
): Promise<Outcome> {
  const { token: map } = call.effect;
  const note = async (state: ItemState): Promise<void> => {
    const text = JSON.stringify(state);
    if ((await deps.journal.putItemNote(call.lease, map, index, "state", text)) === "conflict")
      throw new LeaseLost("The lease of the run is lost");
  };
  const now = deps.clock.now();
  let effect = itemEffect(call.effect, index, { attempt: 1, startedAt: now, attemptAt: now });
  if (state !== undefined) effect = itemEffect(call.effect, index, parsedState(state));
  for (;;) {
    await untilTime(deps, effect.notBefore, index, idle);
    const step: Step = effect.waiting
      ? await awaited(deps, call, each, effect, index, idle)
      : await attempt(deps, call, each, effect, item, signal);
    if (step.kind === "done") return step;
    if (step.kind === "later") {
      await idle(index, deps.clock.now() + step.afterMs);
      continue;
    }
    if (step.kind === "waiting") {
      const until = waitsUntil(effect, each, deps.clock.now());
      effect = { ...effect, waiting: until === undefined ? {} : { until } };
      await note(stateOf(effect));
      continue;
    }
    await cancelLate(deps, call, each, effect, step.error);
    const next = nextAttempt(effect, each, step.error, deps.clock.now(), deps.random);
    if (!next) return step;
    effect = next;
    await note(stateOf(effect));
  }
}

const itemEffect = (whole: Effect, index: number, state: ItemState): Effect => {
  const { map: _map, waiting: _waiting, notBefore: _notBefore, failures: _failures, ...rest } = whole;
  return { ...rest, ...state, token: `${whole.token}.${index}` };
};
const stateOf = ({ attempt, startedAt, attemptAt, notBefore, failures, waiting }: Effect): ItemState => ({
  attempt,
  startedAt,
  attemptAt,
  ...(notBefore !== undefined && { notBefore }),
  ...(failures && { failures }),
  ...(waiting && { waiting }),
});
const parsedState = (text: string): ItemState => JSON.parse(text);
const parsedOutcome = (text: string): ArrivedOutcome => JSON.parse(text);

async function untilTime(
  deps: PerformerDeps,
  at: number | undefined,
  index: number,
  idle: Idler,
): Promise<void> {
  if (at === undefined) return;
  for (;;) {
    if (deps.clock.now() >= at) return;
    await idle(index, at);
  }
}

/** The outcome that comes for the present attempt, or that none has come in time. */
async function awaited(
  deps: PerformerDeps,
  { facts, effect: whole }: EffectCall,
  each: MapActor["each"],
  effect: Effect,
  index: number,
  idle: Idler,
): Promise<Outcome> {
  for (;;) {
    const [notes] = await deps.journal.getItemNotes(facts.key, whole.token, index, 1);
    const came = notes?.outcome === undefined ? undefined : parsedOutcome(notes.outcome);
    if (came?.attempt === effect.attempt) return came.outcome;
    const beat = notes?.beat === undefined ? undefined : waitsUntil(effect, each, Number(notes.beat));
    const until = Math.max(effect.waiting?.until ?? Infinity, beat ?? 0);
    if (until <= deps.clock.now()) {
      const late = timedOut(effect, each, until);
      if (late.kind === "completed") return late.outcome;
    }
    await idle(index, until === Infinity ? undefined : until);
  }
}

async function attempt(
  deps: PerformerDeps,
  call: EffectCall,
  each: MapActor["each"],
  effect: Effect,
  item: Json,
  signal: AbortSignal,
): Promise<Step> {
  if (each.kind === "function") return callItem(deps, call, each, effect, item, signal);
  const pin = call.facts.pins[effect.actor];
  if (pin?.kind !== "workflow")
    throw new Error(`Cannot start "${effect.actor}": the run pins no workflow for it`);
  const { token, attempt } = effect;
  const parent = { key: call.facts.key, token, attempt, close: each.parentClose };
  return deps.startChild({ parent, workflow: pin.name, input: item });
}

async function callItem(
  deps: PerformerDeps,
  { facts, effect: whole }: EffectCall,
  each: FunctionActor,
  effect: Effect,
  item: Json,
  signal: AbortSignal,
): Promise<Step> {
  const now = deps.clock.now();
  const endsAt = attemptEndsAt({ ...effect, attemptAt: now }, each) ?? now + DEFAULT_TIMEOUT_MS;
  const { token, attempt } = effect;
  const result = await deps.call(
    {
      run: facts.key,
      token,
      attempt,
      ...functionOf(facts.pins[whole.actor], whole.actor),
      ...targetOf(each),
      input: item,
      timeoutMs: Math.max(1, Math.min(endsAt - now, each.waitForCallback ? DEFAULT_TIMEOUT_MS : Infinity)),
      ...(each.waitForCallback
        ? { callbackToken: deps.tokens.make({ run: facts.key, token, attempt }) }
        : {}),
    },
    signal,
  );
  if (result.kind === "done") return { kind: "done", output: { value: result.output } };
  if (result.kind === "accepted") return { kind: "waiting" };
  if (result.kind === "overloaded")
    return { kind: "later", afterMs: jittered(result.retryAfterMs, deps.random) };
  return result;
}

/** The child run of an attempt that took too long must not go on beside the next one. */
async function cancelLate(
  deps: PerformerDeps,
  { facts }: EffectCall,
  each: MapActor["each"],
  effect: Effect,
  error: ErrorFacts,
): Promise<void> {
  if (each.kind !== "workflow" || error.type !== "Fission.Timeout") return;
  const child = childRunKey(facts.key, effect.token, effect.attempt);
  await deps.cancel(child, "parent: its step failed");
}
