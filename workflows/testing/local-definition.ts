import type { CodeDefinition } from "../definition/code-definition.ts";
import { type Definition, DefinitionError } from "../definition/definition.ts";

/** A definition whose code runs in this process: for its author's own tests. */
export function localDefinition(code: CodeDefinition): Definition {
  const tried = async <T>(act: () => T): Promise<T> => {
    try {
      // As from the store: nothing but JSON passes between two transitions.
      return JSON.parse(JSON.stringify(act()));
    } catch (error) {
      throw new DefinitionError(
        "definition_threw",
        error instanceof Error ? `${error.name}: ${error.message}` : String(error),
        { cause: error },
      );
    }
  };
  return {
    digest: code.id,
    facts: code.facts(),
    start: (input) => tried(() => code.start(input)),
    transition: (snapshot, event) => tried(() => code.transition(snapshot, event)),
    checkEvent: async (event) => code.checkEvent(event),
    checkInput: async (input) => code.checkInput(input),
  };
}
