import { type Graph, iteratorOf } from "./spec.ts";

/** A function that a Task calls. */
export interface NamedFunction {
  /** The field in the spec, e.g. `states.charge.function.name`. */
  readonly place: string;
  readonly name: string;
  readonly alias?: string;
  readonly version?: string;
}

/** All functions that a workflow calls, branches and items included. */
export const functionsOf = (graph: Graph, place = ""): readonly NamedFunction[] =>
  Object.entries(graph.states).flatMap(([name, state]): readonly NamedFunction[] => {
    const own = `${place}states.${name}`;
    if (state.type === "Map") {
      const item = iteratorOf(state);
      return item ? functionsOf(item, state.iterator ? `${own}.iterator.` : `${own}.branches[0].`) : [];
    }
    if (state.type === "Parallel")
      return (state.branches ?? []).flatMap((branch, at) => functionsOf(branch, `${own}.branches[${at}].`));
    const called = state.function;
    if (!called) return [];
    const { alias, version } = called;
    return [
      {
        place: `${own}.function.name`,
        name: called.name,
        ...(alias ? { alias } : {}),
        ...(version ? { version } : {}),
      },
    ];
  });
