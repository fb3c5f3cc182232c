import type { Action, ErrorFacts, MachineEvent, Transition } from "../definition/definition.ts";
import { type Change, type Circumstances, type NewLine, without } from "./change.ts";
import { accepts } from "./delivery-rules.ts";
import { cancelChildren, end, line } from "./ending.ts";
import type { Effect, Resume, RunRecord } from "./run-record.ts";

/** What a definition's transition makes of a run. `before`: the run as it was before what caused it, for a retry if it fails the run. */
export function advance(
  record: RunRecord,
  before: RunRecord,
  event: MachineEvent | undefined,
  transition: Transition,
  around: Circumstances,
): Change {
  if (transition.snapshot.length > MAX_SNAPSHOT_CHARS) {
    const message = `Cannot store the workflow's context: its snapshot has ${transition.snapshot.length} characters, at most ${MAX_SNAPSHOT_CHARS} are allowed`;
    return broken(record, before, { code: "context_too_large", message }, around);
  }
  const number = record.transition + 1;
  const start: Change = {
    record: {
      ...record,
      transition: number,
      snapshot: transition.snapshot,
      states: transition.states,
      accepts: transition.accepts,
    },
    history: [
      {
        type: "transition",
        transition: number,
        state: transition.states.join(","),
        ...(event && { event: event.type }),
      },
    ],
  };
  let index = -1;
  const token = (): string => `${number}.${(index += 1)}`;
  const acted = transition.actions.reduce<Change>(
    (change, action) => combine(change, act(change.record, action, token, transition.states, around)),
    start,
  );
  const unknown = Object.values(acted.record.effects).find(
    (effect) => !effect.duty && !(effect.actor in around.actors),
  );
  if (unknown) return combine(acted, failed(acted.record, before, undeclared(unknown), around));
  if (transition.status === "active") return acted;
  const ended =
    transition.status === "done"
      ? end(acted.record, { status: "succeeded", output: { value: transition.output ?? null } }, around)
      : failed(acted.record, before, transition.error ?? NAMELESS, around);
  return combine(acted, ended);
}

/** It is written with every commit: large values belong into payloads that steps hand on, not into the context. */
const MAX_SNAPSHOT_CHARS = 16 * 2 ** 20;
const NAMELESS: ErrorFacts = {
  type: "Fission.Failed",
  message: "The machine ended in an error that it did not name",
};
const undeclared = ({ actor, child }: Effect): ErrorFacts => ({
  type: "definition_invalid",
  message: `Cannot start actor "${child}": the definition declares no actor "${actor}"`,
});

/** Two changes, one after the other. */
export const combine = (first: Change, second: Change): Change => ({
  record: second.record,
  history: [...first.history, ...second.history],
});

/** The run cannot go on, for good: its definition does not answer, or what it holds cannot be stored. `error`: a code with its message. */
export function broken(
  record: RunRecord,
  before: RunRecord,
  error: { readonly code: string; readonly message: string },
  around: Circumstances,
): Change {
  return failed(record, before, { type: error.code, message: error.message }, around);
}

function failed(record: RunRecord, before: RunRecord, error: ErrorFacts, around: Circumstances): Change {
  return end(record, { status: "failed", error }, around, resumeOf(before));
}

/** Where a run can be taken up again. */
export const resumeOf = ({ snapshot, states, accepts, effects, timers }: RunRecord): Resume => ({
  snapshot,
  states,
  accepts,
  effects,
  timers,
});

function act(
  record: RunRecord,
  action: Action,
  token: () => string,
  states: readonly string[],
  around: Circumstances,
): Change {
  switch (action.kind) {
    case "invoke":
      return invoke(record, action, token, states, around);
    case "stop":
      return stop(record, action.id, token, around);
    case "timer": {
      const set = {
        token: token(),
        id: action.id,
        event: action.event,
        dueAt: Math.ceil(around.now + action.delayMs),
      };
      const timers = { ...record.timers, [set.token]: set };
      const note = new Date(Math.min(set.dueAt, MAX_DATE)).toISOString();
      const entry: NewLine = {
        type: "timer-set",
        transition: record.transition,
        token: set.token,
        event: action.event.type,
        note,
      };
      return { record: { ...record, timers }, history: [entry] };
    }
    case "cancel-timer": {
      const gone = Object.values(record.timers).filter(({ id }) => id === action.id);
      const history = gone.map(
        ({ token, event }): NewLine => ({
          type: "timer-cancelled",
          transition: record.transition,
          token,
          event: event.type,
        }),
      );
      return { record: { ...record, timers: without(record.timers, ({ id }) => id === action.id) }, history };
    }
    case "emit": {
      const payload = { value: action.event };
      return {
        record,
        history: [{ type: "emitted", transition: record.transition, event: action.event.type, payload }],
      };
    }
    case "log":
      break;
  }
  const payload = { value: action.value };
  return {
    record,
    history: [{ type: "logged", transition: record.transition, note: action.label, payload }],
  };
}

const MAX_DATE = 8.64e15;

function invoke(
  record: RunRecord,
  { id, actor, input }: Extract<Action, { kind: "invoke" }>,
  token: () => string,
  states: readonly string[],
  around: Circumstances,
): Change {
  // A child of that id which was not stopped is of an earlier visit.
  const replaced = stop(record, id, token, around);
  const items = around.actors[actor]?.kind === "map" ? itemsOf(input)?.length : undefined;
  const effect: Effect = {
    token: token(),
    child: id,
    actor,
    state: stateOf(id, states),
    input: { value: input },
    attempt: 1,
    startedAt: around.now,
    attemptAt: around.now,
    ...(items !== undefined && { map: { items } }),
  };
  return combine(replaced, {
    record: { ...replaced.record, effects: { ...replaced.record.effects, [effect.token]: effect } },
    history: [line(record, effect, { type: "effect-scheduled", payload: effect.input })],
  });
}

/** Items of a map's input: an array, or `{items: […]}`. */
export function itemsOf(input: unknown): readonly unknown[] | undefined {
  if (Array.isArray(input)) return input;
  const inside = typeof input === "object" && input !== null && "items" in input ? input.items : undefined;
  return Array.isArray(inside) ? inside : undefined;
}

function stop(record: RunRecord, child: string, token: () => string, around: Circumstances): Change {
  const gone = Object.values(record.effects).filter((effect) => effect.child === child && !effect.duty);
  const owed = gone.flatMap((effect) =>
    cancelChildren(effect, around.actors, "its state was left", token, around.now),
  );
  const effects = {
    ...without(record.effects, (effect) => gone.includes(effect)),
    ...Object.fromEntries(owed.map((effect) => [effect.token, effect])),
  };
  return {
    record: { ...record, effects },
    history: gone.map((effect) => line(record, effect, { type: "effect-cancelled" })),
  };
}

/** XState names an invoked child `<index>.<machine>.<path of its state>` unless the definition does. */
function stateOf(child: string, states: readonly string[]): string {
  const path = /^\d+\.[^.]+\.(.+)$/.exec(child)?.[1];
  return path ?? states.join(",");
}

/** The kept events whose types the machine takes now, in order of arrival, each with the run without it. */
export const bufferedNow = (record: RunRecord): { record: RunRecord; event: MachineEvent }[] =>
  record.buffered
    .filter(({ event }) => accepts(record, event.type))
    .map((taken) => ({
      record: { ...record, buffered: record.buffered.filter((kept) => kept !== taken) },
      event: taken.event,
    }));
