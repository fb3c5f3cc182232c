import type { AnyStateMachine } from "xstate";
import type { Json } from "../core/json.ts";
import { checkMachine, type Problem } from "./check-machine.ts";
import { type DefinitionFacts, errorEvent, type MachineEvent, type Transition } from "./definition.ts";
import { actorFacts, actorLogics, graphOf } from "./machine-facts.ts";
import { machineReducer } from "./machine-reducer.ts";
import { checkValue, jsonSchemaOf, type Schema } from "./schema.ts";
import { stepOf } from "./step-logic.ts";

/**
 * A workflow as its module exports it. It is bundled with the author's XState and with this code, so that a run that is pinned to the bundle goes on
 * as it began, whatever the platform has become since.
 */
export interface CodeDefinition {
  /** Of the way it is spoken to. */
  readonly protocol: 1;
  readonly id: string;
  facts(): DefinitionFacts;
  problems(): readonly Problem[];
  /** @throws what the definition's code throws */
  start(input: unknown): Transition;
  transition(snapshot: string, event: MachineEvent): Transition;
  checkInput(input: unknown): string | undefined;
  checkEvent(event: MachineEvent): string | undefined;
}

export interface CodeParts {
  readonly id: string;
  readonly machine: AnyStateMachine;
  readonly input?: Schema | undefined;
  readonly output?: Schema | undefined;
  /** By type; the event without its `type`. */
  readonly events?: Readonly<Record<string, Schema>> | undefined;
  readonly timeoutMs?: number | undefined;
}

/** Class of the error of a run whose input, or output, is not as its definition says. */
const INVALID_INPUT = "InvalidInput";
const INVALID_OUTPUT = "InvalidOutput";

export function codeDefinition(parts: CodeParts): CodeDefinition {
  const { id, machine, input, output, events } = parts;
  const reducer = machineReducer(machine);
  const logics = actorLogics(machine);
  const checkInputs = ({ actions }: Transition): void => {
    for (const action of actions) {
      const schema = action.kind === "invoke" ? stepOf(logics.get(action.actor))?.input : undefined;
      const fault = schema && action.kind === "invoke" ? faultOf(schema, action.input) : undefined;
      if (fault !== undefined && action.kind === "invoke")
        throw new Error(`Cannot start step "${action.actor}": its input is not as it declares: ${fault}`);
    }
  };
  const withOutput = (transition: Transition): Transition => {
    checkInputs(transition);
    if (transition.status !== "done" || !output) return transition;
    const checked = checkValue(output, transition.output ?? null);
    if ("fault" in checked)
      return {
        ...transition,
        status: "error",
        error: {
          type: INVALID_OUTPUT,
          message: `The workflow's output is not as it declares: ${checked.fault}`,
        },
      };
    return transition;
  };
  return {
    protocol: 1,
    id,
    facts: () => factsOf(parts),
    problems: () => checkMachine(machine),
    start: (given) => {
      if (!input) return withOutput(reducer.start(given));
      const checked = checkValue(input, given);
      if ("fault" in checked)
        throw Object.assign(new Error(`The input is not as the workflow declares: ${checked.fault}`), {
          name: INVALID_INPUT,
        });
      return withOutput(reducer.start(checked.value));
    },
    transition: (snapshot, event) =>
      withOutput(
        reducer.transition(snapshot, event, (given, actorOf) =>
          withCheckedResult(given, (child) => stepOf(logics.get(actorOf(child) ?? ""))?.output),
        ),
      ),
    checkInput: (given) => (input ? faultOf(input, given) : undefined),
    checkEvent: (event) => {
      if (event.type.startsWith("xstate."))
        return `events named "xstate.…" are the engine's own, got "${event.type}"`;
      const schema = events && Object.hasOwn(events, event.type) ? events[event.type] : undefined;
      if (schema) {
        const { type: _type, ...payload } = event;
        return faultOf(schema, payload);
      }
      if (!events) return undefined;
      return `there is no event "${event.type}": allowed are ${Object.keys(events)
        .map((name) => `"${name}"`)
        .join(", ")}`;
    },
  };
}

function faultOf(schema: Schema, value: unknown): string | undefined {
  const checked = checkValue(schema, value);
  return "fault" in checked ? checked.fault : undefined;
}

const DONE = "xstate.done.actor.";

/** A step's result that is not as its `fn` declares counts as its failure: the machine never sees a value of another shape than its types say. */
function withCheckedResult(
  event: MachineEvent,
  schemaOf: (child: string) => Schema | undefined,
): MachineEvent {
  if (!event.type.startsWith(DONE)) return event;
  const child = event.type.slice(DONE.length);
  const schema = schemaOf(child);
  if (!schema) return event;
  const checked = checkValue(schema, event["output"]);
  if ("fault" in checked)
    return errorEvent(child, {
      type: INVALID_OUTPUT,
      message: `The result of "${child}" is not as the workflow declares: ${checked.fault}`,
    });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the context that takes it is checked before it is stored
  return { ...event, output: checked.value as Json };
}

function factsOf({ id, machine, input, output, events, timeoutMs }: CodeParts): DefinitionFacts {
  const inputSchema = jsonSchemaOf(input);
  const outputSchema = jsonSchemaOf(output);
  const eventSchemas = Object.entries(events ?? {}).map(([type, schema]) => [
    type,
    jsonSchemaOf(schema) ?? {},
  ]);
  return {
    id,
    actors: actorFacts(machine),
    ...(inputSchema === undefined ? {} : { input: inputSchema }),
    ...(outputSchema === undefined ? {} : { output: outputSchema }),
    ...(events ? { events: Object.fromEntries(eventSchemas) } : {}),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    graph: graphOf(machine),
  };
}
