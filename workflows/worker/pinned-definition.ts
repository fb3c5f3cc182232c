import type { RunFacts } from "../core/run-record.ts";
import {
  type ActorFacts,
  type Definition,
  DefinitionError,
  type Transition,
} from "../definition/definition.ts";

/**
 * What is known of a run's definition without it: the actors as far as the run's pins tell of them. Enough to end the run, its compensations and children included:
 * nothing of that asks the machine. Time limits and retries are the defaults.
 */
export function pinnedDefinition({ workflow, definition, pins }: RunFacts): Definition {
  const actors = Object.entries(pins).map(([actor, pin]): [string, ActorFacts] => {
    if (pin.kind === "workflow")
      return [actor, { kind: "workflow", name: pin.name, parentClose: pin.parentClose ?? "cancel" }];
    const { name, version, method, path } = pin;
    return [actor, { kind: "function", name, version, ...(method && { method }), ...(path && { path }) }];
  });
  return {
    digest: definition,
    facts: {
      id: workflow,
      actors: Object.fromEntries(actors),
      graph: { id: workflow, key: workflow, type: "atomic", invokes: [], transitions: [], states: [] },
    },
    start: unasked,
    transition: unasked,
    checkEvent: () => Promise.resolve(undefined),
  };
}

const unasked = (): Promise<Transition> =>
  Promise.reject(new DefinitionError("definition_unavailable", "The run ends without its definition"));
