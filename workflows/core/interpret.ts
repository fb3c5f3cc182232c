import {
  type ActorFacts,
  doneEvent,
  type ErrorFacts,
  errorEvent,
  type MachineEvent,
} from "../definition/definition.ts";
import { resumeOf } from "./advance.ts";
import { type Change, type Circumstances, type NewLine, without } from "./change.ts";
import { accepts, effectOf } from "./delivery-rules.ts";
import { cancelLeft, end, endingEffectDone, line } from "./ending.ts";
import type { Json } from "./json.ts";
import { attemptEndsAt, nextAttempt, totalEndsAt, waitsUntil } from "./retry.ts";
import type { BufferedEvent, Effect, Message, Outcome, Payload, RunRecord } from "./run-record.ts";

/** What happens to a run: a message, or what its worker says of an effect that it has begun. */
export type Input =
  | Message
  /** Somebody else will complete it. */
  | { readonly kind: "waiting"; readonly token: string }
  /** It could not be tried: no attempt is used up. */
  | { readonly kind: "later"; readonly token: string; readonly afterMs: number; readonly reason: string };

/** What an input makes of a run: nothing, a changed record, or one that `event` is to be fed to. */
export type Decision =
  | { readonly kind: "unchanged" }
  | ({ readonly kind: "changed" } & Change)
  | ({ readonly kind: "feed"; readonly event: MachineEvent } & Change);

const MAX_BUFFERED = 1_000;

/** Payloads of the input hold values, not references. */
export function interpret(record: RunRecord, input: Input, around: Circumstances): Decision {
  switch (input.kind) {
    case "event":
      return event(record, input);
    case "completed":
      if (isItem(record, input.token)) return updated(record, effectOf(input.token), roused);
      return isOldAttempt(record, input)
        ? dropped(record, {
            token: input.token,
            note: `completion of attempt ${input.attempt}, which is over`,
          })
        : completed(record, input.token, input.outcome, around);
    case "timer":
      return timerFired(record, input.token, around.passed);
    case "waiting":
      return updated(record, input.token, (effect) => waiting(effect, around));
    case "heartbeat":
      return isOldAttempt(record, input)
        ? { kind: "unchanged" }
        : updated(record, input.token, (effect) => (effect.waiting ? waiting(effect, around) : effect));
    case "later":
      return later(record, input, around);
    case "cancel":
      return cancelled(record, input.reason, around);
    case "terminate":
      return terminated(record, input.reason, around);
    case "deadline":
      break;
  }
  return deadline(record, around);
}

const dropped = (record: RunRecord, facts: Partial<NewLine>): Decision => ({
  kind: "changed",
  record,
  history: [{ type: "event-dropped", transition: record.transition, ...facts }],
});

/** What comes for an item lies with its map's results by now: whoever performs the map looks for it there. */
const isItem = ({ effects }: RunRecord, token: string): boolean =>
  !(token in effects) && effects[effectOf(token)]?.map !== undefined;

function roused(effect: Effect): Effect {
  if (effect.waiting === undefined && effect.notBefore === undefined) return effect;
  const { waiting: _waiting, notBefore: _notBefore, ...rest } = effect;
  return rest;
}

const isOldAttempt = (
  { effects }: RunRecord,
  { token, attempt }: { readonly token: string; readonly attempt?: number },
): boolean => attempt !== undefined && effects[token] !== undefined && effects[token].attempt !== attempt;

function event(record: RunRecord, { id, event, buffered }: Extract<Message, { kind: "event" }>): Decision {
  const note = (text: string): Partial<NewLine> => ({ event: event.type, note: `${id}: ${text}` });
  if (event.type.startsWith("xstate.")) return dropped(record, note("the name is the engine's own"));
  if (record.ending) return dropped(record, note("the run is ending"));
  const line: NewLine = {
    type: "event",
    transition: record.transition,
    event: event.type,
    payload: { value: event },
    note: id,
  };
  if (accepts(record, event.type)) return { kind: "feed", record, event, history: [line] };
  return buffered
    ? kept(record, { id, event }, "not accepted now")
    : dropped(record, note("not accepted now"));
}

/** Until the machine takes it. */
function kept(record: RunRecord, { id, event }: BufferedEvent, why: string): Change & { kind: "changed" } {
  const line = { transition: record.transition, event: event.type } as const;
  if (record.buffered.length >= MAX_BUFFERED) {
    const note = `${id}: more than ${MAX_BUFFERED} events are kept`;
    return { kind: "changed", record, history: [{ type: "event-dropped", ...line, note }] };
  }
  return {
    kind: "changed",
    record: { ...record, buffered: [...record.buffered, { id, event }] },
    history: [{ type: "event", ...line, payload: { value: event }, note: `${id}: kept, ${why}` }],
  };
}

/** An event that the state takes by name and that changed nothing: its guards say no. It is kept if that was asked for. */
export function untaken(
  record: RunRecord,
  { id, event, buffered }: Extract<Message, { kind: "event" }>,
): Change {
  if (buffered) return kept(record, { id, event }, "the machine did not take it yet");
  const note = `${id}: the machine did not take it`;
  return {
    record,
    history: [{ type: "event-dropped", transition: record.transition, event: event.type, note }],
  };
}

function completed(record: RunRecord, token: string, outcome: Outcome, around: Circumstances): Decision {
  const effect = record.effects[token];
  if (!effect) return dropped(record, { token, note: "completion of an effect that is not open" });
  const actor = around.actors[effect.actor];
  if (outcome.kind === "failed") {
    const next = nextAttempt(effect, actor, outcome.error, around.now, around.random);
    if (next) return retried(record, effect, next, outcome.error, around);
  }
  if (effect.duty || effect.compensates) return undone(record, effect, outcome, around);
  return outcome.kind === "done"
    ? succeeded(record, effect, actor, outcome.output)
    : failed(record, effect, outcome, around);
}

function retried(
  record: RunRecord,
  effect: Effect,
  next: Effect,
  error: ErrorFacts,
  { actors, now }: Circumstances,
): Decision {
  const left = cancelLeft(effect, error, actors, now);
  const note = `attempt ${next.attempt} at ${new Date(next.notBefore ?? 0).toISOString()}`;
  return {
    kind: "changed",
    record: { ...record, effects: { ...record.effects, ...left, [effect.token]: next } },
    history: [line(record, effect, { type: "attempt-failed", error, note })],
  };
}

function undone(record: RunRecord, effect: Effect, outcome: Outcome, around: Circumstances): Decision {
  const error = outcome.kind === "failed" ? outcome.error : undefined;
  if (record.ending) return { kind: "changed", ...endingEffectDone(record, effect, error, around) };
  const effects = without(record.effects, ({ token }) => token === effect.token);
  return { kind: "changed", record: { ...record, effects }, history: [] };
}

function succeeded(
  record: RunRecord,
  effect: Effect,
  actor: ActorFacts | undefined,
  output: Payload,
): Decision {
  const undo = actor?.kind === "function" ? actor.compensation : undefined;
  const { token, state, input } = effect;
  const compensations =
    undo === undefined
      ? record.compensations
      : [...record.compensations, { token, actor: undo, state, input, output }];
  return {
    kind: "feed",
    record: { ...record, compensations, effects: without(record.effects, (it) => it.token === token) },
    event: doneEvent(effect.child, valueOf(output)),
    history: [line(record, effect, { type: "effect-completed", payload: output })],
  };
}

function failed(
  record: RunRecord,
  effect: Effect,
  { error, cause }: Extract<Outcome, { kind: "failed" }>,
  { actors, now }: Circumstances,
): Decision {
  const effects = without(record.effects, ({ token }) => token === effect.token);
  return {
    kind: "feed",
    record: { ...record, effects: { ...effects, ...cancelLeft(effect, error, actors, now) } },
    event: errorEvent(effect.child, { ...error, ...(cause !== undefined && { cause }) }),
    history: [
      line(record, effect, {
        type: "effect-failed",
        error,
        ...(cause !== undefined && { payload: { value: cause } }),
      }),
    ],
  };
}

function valueOf(payload: Payload): Json {
  if ("value" in payload) return payload.value;
  throw new Error(`Cannot feed payload ${payload.ref} to the machine: it has not been loaded`);
}

function timerFired(record: RunRecord, token: string, passed: number): Decision {
  const timer = record.timers[token];
  // A message may come before its time, by a clock that runs ahead: the table decides.
  if (!timer || timer.dueAt > passed) return { kind: "unchanged" };
  return {
    kind: "feed",
    record: { ...record, timers: without(record.timers, (it) => it.token === token) },
    event: timer.event,
    history: [{ type: "timer-fired", transition: record.transition, token, event: timer.event.type }],
  };
}

function updated(record: RunRecord, token: string, change: (effect: Effect) => Effect): Decision {
  const effect = record.effects[token];
  if (!effect) return { kind: "unchanged" };
  const next = change(effect);
  if (next === effect) return { kind: "unchanged" };
  return {
    kind: "changed",
    record: { ...record, effects: { ...record.effects, [token]: next } },
    history: [],
  };
}

/** Tried again later, unless the time of all its attempts is over by then. */
function later(
  record: RunRecord,
  { token, afterMs, reason }: Extract<Input, { kind: "later" }>,
  around: Circumstances,
): Decision {
  const again = around.now + afterMs;
  const effect = record.effects[token];
  const end = effect && totalEndsAt(effect, around.actors[effect.actor]);
  if (effect && end !== undefined && again >= end) {
    const message = `Step "${effect.actor}" could not be made within ${end - effect.startedAt} ms: ${reason}`;
    return completed(record, token, { kind: "failed", error: { type: "Fission.Timeout", message } }, around);
  }
  return updated(record, token, (open) => ({ ...open, notBefore: again, attemptAt: again }));
}

function waiting(effect: Effect, { actors, now }: Circumstances): Effect {
  const until = waitsUntil(effect, actors[effect.actor], now);
  return { ...effect, waiting: { ...(until !== undefined && { until }) } };
}

const stopped = (how: string, reason: string): ErrorFacts => ({
  type: `run_${how}`,
  message: reason === "" ? `The run was ${how}` : `The run was ${how}: ${reason}`,
});

function cancelled(record: RunRecord, reason: string, around: Circumstances): Decision {
  if (record.ending) return dropped(record, { note: "cancel: the run is ending" });
  return {
    kind: "changed",
    ...end(record, { status: "cancelled", error: stopped("cancelled", reason) }, around),
  };
}

function terminated(record: RunRecord, reason: string, around: Circumstances): Decision {
  // The parent may have heard the end already: it cannot become another one.
  if (record.ending?.told) return dropped(record, { note: "terminate: the run has ended" });
  const error = stopped("terminated", reason);
  return { kind: "changed", ...end(record, { status: "terminated", error }, around) };
}

function deadline(record: RunRecord, around: Circumstances): Decision {
  if (record.ending || record.deadlineAt === undefined || record.deadlineAt > around.passed)
    return { kind: "unchanged" };
  const error = {
    type: "Fission.Timeout",
    message: `The run did not end by ${new Date(record.deadlineAt).toISOString()}`,
  };
  const resume = record.snapshot === "" ? undefined : resumeOf(record);
  return { kind: "changed", ...end(record, { status: "timed-out", error }, around, resume) };
}

/** What the clock alone makes happen by now, in the order in which it fell due: timers, effects that waited too long, the deadline. */
export function overdue(
  record: RunRecord,
  { actors, passed }: Pick<Circumstances, "actors" | "passed">,
): Input[] {
  const timers = Object.values(record.timers).map(({ token, dueAt }) => ({
    at: dueAt,
    input: { kind: "timer", token } as const,
  }));
  const waits = Object.values(record.effects).flatMap((effect) =>
    effect.waiting?.until === undefined
      ? []
      : [{ at: effect.waiting.until, input: timedOut(effect, actors[effect.actor], effect.waiting.until) }],
  );
  const end =
    record.deadlineAt === undefined || record.ending
      ? []
      : [{ at: record.deadlineAt, input: { kind: "deadline" } as const }];
  return [...timers, ...waits, ...end]
    .filter(({ at }) => at <= passed)
    .sort((a, b) => a.at - b.at)
    .map(({ input }) => input);
}

/** An attempt that took too long, or of which nothing was heard for too long. */
export function timedOut(effect: Effect, actor: ActorFacts | undefined, at: number): Input {
  const heartbeatMs = actor?.kind === "function" ? actor.heartbeatMs : undefined;
  const silent = heartbeatMs !== undefined && at !== attemptEndsAt(effect, actor);
  const message = silent
    ? `Step "${effect.actor}" gave no heartbeat for ${heartbeatMs} ms`
    : `Step "${effect.actor}" did not end within ${at - effect.attemptAt} ms (attempt ${effect.attempt})`;
  return {
    kind: "completed",
    token: effect.token,
    outcome: { kind: "failed", error: { type: "Fission.Timeout", message } },
  };
}
