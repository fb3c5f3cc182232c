import { createHash } from "node:crypto";
import { canonicalJson } from "../../api/canonical-json.ts";
import { parseDurationMs } from "../../api/duration.ts";
import { type Definition, DefinitionError, type Transition } from "../definition/definition.ts";
import { compileMachine } from "./compile-machine.ts";
import { causeText } from "./format-error.ts";
import { formatGraph } from "./format-graph.ts";
import { runMachine, type Step } from "./run-machine.ts";
import { FormatSpec } from "./spec.ts";

/** Counted up when the same spec compiles to a machine that cannot read the snapshots of the one before. */
const COMPILER = 1;
const DEFAULT_RUN_TIMEOUT_MS = 86_400_000;

/** What a run of this spec pins, as text: equal specs have equal texts. */
export const formatText = (spec: FormatSpec): string =>
  `startAt/${COMPILER}\n${canonicalJson(definingPart(spec))}`;

/** sha256 of `formatText`. */
export const formatDigest = (spec: FormatSpec): string =>
  createHash("sha256").update(formatText(spec)).digest("hex");

const definingPart = ({ startAt, states, timeout, defaultRetry }: FormatSpec) => ({
  startAt,
  states,
  timeout,
  defaultRetry,
});

/**
 * A `startAt`/`states` workflow as a definition that runs in this process: it has no code of its user's.
 * @param name of the workflow
 * @throws {TypeError} for a spec that `checkFormat` refuses
 */
export function formatDefinition(name: string, value: unknown): Definition {
  const spec = FormatSpec.parse(value);
  const compiled = compileMachine(spec, spec.defaultRetry);
  const machine = runMachine(compiled);
  return {
    digest: formatDigest(spec),
    facts: {
      id: name,
      actors: compiled.actors,
      timeoutMs: spec.timeout ? parseDurationMs(spec.timeout) : DEFAULT_RUN_TIMEOUT_MS,
      graph: formatGraph(name, spec),
    },
    start: (input) => answer(() => transitionOf(machine.start(input))),
    transition: (snapshot, event) => answer(() => transitionOf(machine.transition(snapshot, event))),
    checkEvent: async (event) => `a startAt/states workflow takes no events, got "${event.type}"`,
  };
}

function transitionOf({ snapshot, result, actions, states }: Step): Transition {
  const common = { snapshot, actions, states, accepts: [] };
  if (!result) return { ...common, status: "active" };
  if ("document" in result) return { ...common, status: "done", output: result.document };
  const { errorType, cause } = result.failure;
  return { ...common, status: "error", error: { type: errorType, message: causeText(cause) } };
}

async function answer(work: () => Transition): Promise<Transition> {
  try {
    return work();
  } catch (error) {
    throw new DefinitionError("definition_threw", error instanceof Error ? error.message : String(error), {
      cause: error,
    });
  }
}
