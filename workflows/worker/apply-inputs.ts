import { advance, broken, bufferedNow, combine } from "../core/advance.ts";
import type { Change, Circumstances } from "../core/change.ts";
import { type Input, interpret, overdue, untaken } from "../core/interpret.ts";
import type { Json } from "../core/json.ts";
import type { Payload, RunRecord } from "../core/run-record.ts";
import { type Definition, DefinitionError, type Transition } from "../definition/definition.ts";
import type { Payloads, WorkerPorts } from "./ports.ts";

export type TransitionPorts = Pick<WorkerPorts, "clock" | "random"> & {
  readonly payloads: Pick<Payloads, "load">;
};

/**
 * A run after the inputs, each a transition of its own, then what the clock makes happen, without committing anything. The same record object = nothing
 * to commit.
 * Rejects with `DefinitionError` `definition_unavailable`: nothing is lost, to be tried again.
 */
export async function applyInputs(
  record: RunRecord,
  inputs: readonly Input[],
  definition: Definition,
  ports: TransitionPorts,
): Promise<Change> {
  let change: Change = { record, history: [] };
  const take = async (step: (record: RunRecord, around: Circumstances) => Promise<Change>): Promise<void> => {
    if (change.record.status !== "running") return;
    const around = {
      now: ports.clock.now(),
      passed: ports.clock.passed(),
      random: ports.random,
      actors: definition.facts.actors,
    };
    change = combine(change, await step(change.record, around));
  };
  if (record.snapshot === "" && !record.ending)
    await take((at, around) => begin(at, definition, around, ports));
  for (const input of inputs) await take((at, around) => applyInput(at, input, definition, around, ports));
  const { actors } = definition.facts;
  for (const input of overdue(change.record, { passed: ports.clock.passed(), actors }))
    await take((at, around) => applyInput(at, input, definition, around, ports));
  return change;
}

/**
 * The end of a run whose definition cannot be asked: what has come to its end before is noted, so that it is undone with the rest, and whatever else came is dropped.
 * Undefined: nothing asks for its end.
 */
export async function endUnasked(
  record: RunRecord,
  inputs: readonly Input[],
  actors: Circumstances["actors"],
  ports: TransitionPorts,
): Promise<Change | undefined> {
  const { clock, random } = ports;
  const around = { now: clock.now(), passed: clock.passed(), random, actors };
  const late = overdue(record, around).filter(({ kind }) => kind === "deadline");
  const noted = [...inputs, ...late].filter(({ kind }) => kind === "completed" || ENDERS.has(kind));
  if (!noted.some(({ kind }) => ENDERS.has(kind))) return undefined;
  let change: Change = { record, history: [] };
  for (const input of [...noted, ...inputs.filter((other) => !noted.includes(other))]) {
    const decision = interpret(change.record, await withValues(input, ports), around);
    if (decision.kind !== "unchanged") change = combine(change, decision);
  }
  return change;
}

/** They need no machine. */
const ENDERS: ReadonlySet<Input["kind"]> = new Set(["cancel", "terminate", "deadline"]);

async function begin(
  record: RunRecord,
  definition: Definition,
  around: Circumstances,
  ports: TransitionPorts,
): Promise<Change> {
  const input = await loaded(record.facts.input, ports);
  const given = record.deadlineAt ?? Infinity;
  const limit = Math.min(given, record.startedAt + (definition.facts.timeoutMs ?? Infinity));
  const limited = Number.isFinite(limit) ? { ...record, deadlineAt: limit } : record;
  const answer = await asked(() => definition.start(input));
  return answer instanceof DefinitionError
    ? broken(limited, limited, answer, around)
    : feedBuffered(advance(limited, limited, undefined, answer, around), definition, around);
}

async function applyInput(
  record: RunRecord,
  input: Input,
  definition: Definition,
  around: Circumstances,
  ports: TransitionPorts,
): Promise<Change> {
  const decision = interpret(record, await withValues(input, ports), around);
  if (decision.kind === "unchanged") return { record, history: [] };
  if (decision.kind === "changed") return { record: decision.record, history: decision.history };
  const answer = await asked(() => definition.transition(record.snapshot, decision.event));
  if (answer instanceof DefinitionError)
    return combine(decision, broken(decision.record, record, answer, around));
  if (input.kind === "event" && answer.snapshot === record.snapshot && answer.actions.length === 0)
    return untaken(record, input);
  const advanced = combine(decision, advance(decision.record, record, decision.event, answer, around));
  return feedBuffered(advanced, definition, around);
}

/** Kept events that the machine takes now, the oldest first; each that it takes may let it take one that it did not before. */
async function feedBuffered(change: Change, definition: Definition, around: Circumstances): Promise<Change> {
  let fed = change;
  for (;;) {
    const next = fed.record.status === "running" ? await feedOne(fed.record, definition, around) : undefined;
    if (!next) return fed;
    fed = combine(fed, next);
  }
}

async function feedOne(
  before: RunRecord,
  definition: Definition,
  around: Circumstances,
): Promise<Change | undefined> {
  for (const { record, event } of bufferedNow(before)) {
    const answer = await asked(() => definition.transition(record.snapshot, event));
    if (answer instanceof DefinitionError) return broken(record, record, answer, around);
    if (answer.snapshot !== record.snapshot || answer.actions.length > 0)
      return advance(record, record, event, answer, around);
  }
  return undefined;
}

/** What the definition answered, or why it cannot; that it cannot be reached now is thrown. */
async function asked(ask: () => Promise<Transition>): Promise<Transition | DefinitionError> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof DefinitionError && error.code !== "definition_unavailable") return error;
    throw error;
  }
}

async function withValues(input: Input, ports: TransitionPorts): Promise<Input> {
  if (input.kind !== "completed" || input.outcome.kind !== "done" || "value" in input.outcome.output)
    return input;
  const value = await loaded(input.outcome.output, ports);
  return { ...input, outcome: { kind: "done", output: { value } } };
}

async function loaded(payload: Payload, ports: TransitionPorts): Promise<Json> {
  return "value" in payload ? payload.value : ports.payloads.load(payload.ref);
}
