import type { AnyStateMachine } from "xstate";
import type { Json } from "../../workflows/core/json.ts";
import type { ActorFacts, Definition, DefinitionFacts } from "../../workflows/definition/definition.ts";
import { DefinitionError } from "../../workflows/definition/definition.ts";
import { machineReducer } from "../../workflows/definition/machine-reducer.ts";

/** A machine of a test's own as a definition, run in this process. Actors that the test names must be in the machine's `setup`. */
export function machineDefinition(
  machine: AnyStateMachine,
  actors: Readonly<Record<string, ActorFacts>>,
  facts: Partial<DefinitionFacts> = {},
): Definition {
  const reducer = machineReducer(machine);
  const tried = async <T>(act: () => T): Promise<T> => {
    try {
      return act();
    } catch (error) {
      throw new DefinitionError("definition_threw", error instanceof Error ? error.message : String(error));
    }
  };
  const graph = {
    id: machine.id,
    key: machine.id,
    type: "compound",
    invokes: [],
    transitions: [],
    states: [],
  } as const;
  return {
    digest: machine.id,
    facts: { id: machine.id, actors, graph, ...facts },
    start: (input: Json) => tried(() => reducer.start(input)),
    transition: (snapshot, event) => tried(() => reducer.transition(snapshot, event)),
    checkEvent: async () => undefined,
  };
}
