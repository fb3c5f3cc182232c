import type { RunRecord } from "../core/run-record.ts";
import type { Definition, MachineEvent } from "./definition.ts";

/**
 * Whether a run's machine would do anything with an event in its present state: a guard may say no to what the state takes by name. Before the first
 * transition nobody knows. Rejects with `DefinitionError`.
 */
export async function takesEvent(
  definition: Pick<Definition, "transition">,
  { snapshot }: Pick<RunRecord, "snapshot">,
  event: MachineEvent,
): Promise<boolean> {
  if (snapshot === "") return true;
  const after = await definition.transition(snapshot, event);
  return after.snapshot !== snapshot || after.actions.length > 0;
}
