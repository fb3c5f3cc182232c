import type { ErrorFacts } from "../definition/definition.ts";
import { type Change, type Circumstances, type NewLine, without } from "./change.ts";
import type { Compensation, Effect, Ending, Outcome, Payload, Resume, RunRecord } from "./run-record.ts";

/**
 * Ends a run as given: open effects and timers are dropped, child runs told, and, unless it succeeded or was terminated, what was done is undone in
 * reverse order. The run has finished once nothing of that is open.
 */
export function end(
  record: RunRecord,
  ending: Ending,
  { actors, now }: Circumstances,
  resume?: Resume,
): Change {
  const open = Object.values(record.effects);
  const undo = ending.status !== "succeeded" && ending.status !== "terminated";
  const tokens = tokensOf(record);
  const duties = [
    ...open.filter(({ duty }) => duty !== undefined),
    ...open.flatMap((effect) => cancelChildren(effect, actors, ending.status, tokens, now)),
  ];
  const compensations = undo ? record.compensations : [];
  const { resume: _before, ...rest } = record;
  return proceed(
    {
      record: {
        ...rest,
        ending,
        effects: Object.fromEntries(duties.map((effect) => [effect.token, effect])),
        timers: {},
        accepts: [],
        buffered: [],
        transition: record.transition + 1,
        compensations,
        ...(resume && compensations.length === 0 && { resume }),
      },
      history: [
        ...open
          .filter(({ duty }) => duty === undefined)
          .map((effect) =>
            line(record, effect, { type: "effect-cancelled", note: `the run ${VERBS[ending.status]}` }),
          ),
        ...record.buffered.map(
          ({ id, event }): NewLine => ({
            type: "event-dropped",
            transition: record.transition,
            event: event.type,
            note: `${id}: kept until the run ${VERBS[ending.status]}, never taken`,
          }),
        ),
      ],
    },
    actors,
    now,
  );
}

const VERBS: Readonly<Record<Ending["status"], string>> = {
  succeeded: "succeeded",
  failed: "failed",
  cancelled: "was cancelled",
  "timed-out": "timed out",
  terminated: "was terminated",
};

/** Numbers for the effects that the present transition opens: what opened before in it keeps its own. */
export function tokensOf(record: RunRecord, transition = record.transition + 1): () => string {
  const taken = [...Object.keys(record.effects), ...Object.keys(record.timers)]
    .filter((token) => token.startsWith(`${transition}.`))
    .map((token) => Number(token.split(".")[1]))
    .filter((index) => Number.isInteger(index));
  let index = Math.max(-1, ...taken);
  return () => `${transition}.${(index += 1)}`;
}

/** What is owed to the children of an effect that is dropped: nothing, unless it stands for other runs and these do not outlive it. */
export function cancelChildren(
  effect: Effect,
  actors: Circumstances["actors"],
  why: string,
  token: () => string,
  now: number,
): Effect[] {
  const actor = actors[effect.actor];
  const child = actor?.kind === "map" ? actor.each : actor;
  if (effect.duty !== undefined || child?.kind !== "workflow" || child.parentClose !== "cancel") return [];
  const items = effect.map === undefined ? {} : { items: effect.map.items };
  const attempts = effect.map === undefined ? effect.attempt : (child.retry?.maxAttempts ?? 1);
  const reason = `parent: ${why}`;
  const duty = { kind: "cancel-children", of: effect.token, ...items, attempts, reason } as const;
  return [dutyEffect(token(), duty, now)];
}

/** The same for an effect that has failed: its child may go on without knowing that nobody waits for it any more, and so may those of a map's other items. */
export function cancelLeft(
  effect: Effect,
  error: ErrorFacts,
  actors: Circumstances["actors"],
  now: number,
): Readonly<Record<string, Effect>> {
  if (effect.map === undefined && error.type !== "Fission.Timeout") return {};
  const token = `${effect.token}c${effect.attempt}`;
  const duties = cancelChildren(effect, actors, "its step failed", () => token, now);
  return Object.fromEntries(duties.map((duty) => [duty.token, duty]));
}

function dutyEffect(token: string, duty: NonNullable<Effect["duty"]>, now: number): Effect {
  return {
    token,
    child: "",
    actor: "",
    state: "",
    input: { value: null },
    attempt: 1,
    startedAt: now,
    attemptAt: now,
    duty,
  };
}

/** The next thing that an ending run does: one compensation at a time, then the word to the parent, then the end. */
export function proceed({ record, history }: Change, actors: Circumstances["actors"], now: number): Change {
  const { ending } = record;
  const open = Object.values(record.effects);
  if (!ending || open.some(({ compensates }) => compensates !== undefined)) return { record, history };
  const last = record.compensations.at(-1);
  if (last) return proceedWith(last, { record, history }, actors, now);
  if (record.facts.parent && !ending.told) {
    const duty = { kind: "tell-parent", outcome: outcomeOf(ending) } as const;
    const told = dutyEffect(tokensOf(record, record.transition)(), duty, now);
    const effects = { ...record.effects, [told.token]: told };
    return { record: { ...record, effects, ending: { ...ending, told: true } }, history };
  }
  return open.length > 0 ? { record, history } : finished(record, ending, history);
}

function proceedWith(
  compensation: Compensation,
  { record, history }: Change,
  actors: Circumstances["actors"],
  now: number,
): Change {
  const remaining = { ...record, compensations: record.compensations.slice(0, -1) };
  const { actor, state, input, output } = compensation;
  if (!(actor in actors)) {
    const note = `the definition has no actor "${actor}"`;
    const skipped: NewLine = { type: "effect-failed", transition: record.transition, actor, state, note };
    return proceed({ record: remaining, history: [...history, skipped] }, actors, now);
  }
  const token = tokensOf(record, record.transition)();
  const compensates = { token: compensation.token, output };
  const effect: Effect = {
    token,
    child: "",
    actor,
    state,
    input,
    attempt: 1,
    startedAt: now,
    attemptAt: now,
    compensates,
  };
  const scheduled = line(record, effect, {
    type: "effect-scheduled",
    payload: handedTo(compensation),
    note: `undoes ${compensation.token}`,
  });
  return {
    record: { ...remaining, effects: { ...record.effects, [token]: effect } },
    history: [...history, scheduled],
  };
}

/** What the compensating function is called with; large ones are not copied into the history: it has them already. */
const handedTo = ({ input, output }: Compensation): Payload =>
  "value" in input && "value" in output ? { value: { input: input.value, output: output.value } } : input;

function finished(record: RunRecord, ending: Ending, history: readonly NewLine[]): Change {
  const { status, output, error } = ending;
  const { ending: _over, ...rest } = record;
  return {
    record: { ...rest, status, ...(output && { output }), ...(error && { error }) },
    history: [
      ...history,
      {
        type: "finished",
        transition: record.transition,
        note: status,
        ...(output && { payload: output }),
        ...(error && { error }),
      },
    ],
  };
}

/** What a run's end is to its parent. */
function outcomeOf({ status, output, error }: Ending): Outcome {
  if (status === "succeeded") return { kind: "done", output: output ?? { value: null } };
  const fallback: ErrorFacts = { type: "Fission.Failed", message: `The child run ${VERBS[status]}` };
  return { kind: "failed", error: error ?? fallback };
}

/** A compensating or dutiful effect of an ending run has come to its end. */
export function endingEffectDone(
  record: RunRecord,
  effect: Effect,
  error: ErrorFacts | undefined,
  { actors, now }: Circumstances,
): Change {
  const next = {
    ...record,
    transition: record.transition + 1,
    effects: without(record.effects, (it) => it.token === effect.token),
  };
  const done: NewLine[] = effect.compensates
    ? [line(record, effect, error ? { type: "effect-failed", error } : { type: "compensated" })]
    : [];
  const marked = error && effect.compensates ? withFailedCompensation(next, effect, error) : next;
  return proceed({ record: marked, history: done }, actors, now);
}

/** What could not be undone must not be overlooked: the run's error says it. */
function withFailedCompensation(record: RunRecord, effect: Effect, error: ErrorFacts): RunRecord {
  const ending = record.ending;
  if (!ending) return record;
  const before = ending.error ?? { type: "Fission.Failed", message: `The run ${VERBS[ending.status]}` };
  const message = `${before.message}; compensation "${effect.actor}" failed: ${error.message}`;
  return { ...record, ending: { ...ending, error: { ...before, message } } };
}

/** A line of history about an effect. */
export function line(
  record: RunRecord,
  effect: Effect,
  facts: Omit<NewLine, "transition" | "token" | "actor" | "state" | "attempt">,
): NewLine {
  const { token, actor, state, attempt } = effect;
  return { transition: record.transition, token, actor, state, attempt, ...facts };
}
