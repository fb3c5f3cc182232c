import { type ActorLogic, type AnyStateMachine, createMachine, type Snapshot } from "xstate";
import { parseDurationMs } from "../../api/duration.ts";
import type { Json } from "../core/json.ts";
import type { FunctionActor, MapActor, RetryRule } from "../definition/definition.ts";
import {
  type Compilation,
  compileStates,
  MACHINE_ID,
  OWN_STATE,
  rootScope,
  type RunContext,
} from "./compile-graph.ts";
import { compileMap } from "./compile-map.ts";
import { RETRIED_ERRORS } from "./format-error.ts";
import type { Graph, Retry, State } from "./spec.ts";

/** A graph as an XState machine, with what its actors stand for. */
export interface CompiledMachine {
  readonly machine: AnyStateMachine;
  readonly actors: Readonly<Record<string, FunctionActor | MapActor>>;
  /** By path of their Map. */
  readonly itemMachines: Readonly<
    Record<string, { readonly items: CompiledMachine; readonly maxConcurrency: number }>
  >;
}

const DEFAULT_TIMEOUT_MS = 300_000;
const DEFAULT_BACKOFF_BASE_MS = 1_000;
const DEFAULT_BACKOFF_CAP_MS = 60_000;

/** A child as the machine sees it: it stays until the engine reports its result. Its input is not kept with it. */
const waitingActor: ActorLogic<Snapshot<unknown>, { type: string }> = {
  getInitialSnapshot: () => ({ status: "active", output: undefined, error: undefined }),
  transition: (snapshot) => snapshot,
  getPersistedSnapshot: (snapshot) => snapshot,
};

/**
 * Compiles a graph that `checkFormat` has passed.
 * @param defaultRetry of states that have none of their own
 * @param prefix put before the names of its actors
 */
export function compileMachine(graph: Graph, defaultRetry: Retry | undefined, prefix = ""): CompiledMachine {
  const compilation: Compilation = {
    actors: {},
    itemMachines: {},
    prefix,
    functionActor: (state) => functionActor(state, defaultRetry),
    compileMap,
  };
  const states = compileStates(compilation, rootScope(graph), { type: "final" });
  const itemMachines = Object.fromEntries(
    Object.entries(compilation.itemMachines).map(([id, { graph: item, maxConcurrency }]) => [
      id,
      { items: compileMachine(item, defaultRetry, `${prefix}${id}.`), maxConcurrency },
    ]),
  );
  const nested = Object.values(itemMachines).map(({ items }) => items.actors);
  const names = [...Object.keys(compilation.actors), ...Object.keys(itemMachines).map((id) => prefix + id)];
  const context: RunContext = { documents: {}, ended: {} };
  const machine = createMachine({
    id: MACHINE_ID,
    initial: graph.startAt,
    context: ({ input }: { input: Json }) => ({ ...context, documents: { "": input ?? null } }),
    output: ({ context: { failure, documents } }: { context: RunContext }) =>
      failure ? { failure } : { document: documents[""] ?? null },
    states: { ...states, [`${OWN_STATE}failed`]: { type: "final" } },
  }).provide({ actors: Object.fromEntries(names.map((name) => [name, waitingActor])) });
  return { machine, actors: Object.assign({}, compilation.actors, ...nested), itemMachines };
}

function functionActor(state: State, defaultRetry: Retry | undefined): FunctionActor {
  const { name = "", alias, version } = state.function ?? {};
  return {
    kind: "function",
    name,
    ...(alias ? { alias } : {}),
    ...(version ? { version } : {}),
    retry: retryRule(state.retry ?? defaultRetry),
    attemptTimeoutMs: state.timeout ? parseDurationMs(state.timeout) : DEFAULT_TIMEOUT_MS,
  };
}

/** No retry unless asked for; the whole pause is random, as in the reference system. */
function retryRule(retry: Retry | undefined): RetryRule {
  return {
    maxAttempts: retry?.maxAttempts ?? 1,
    backoffBaseMs: retry?.backoffBase ? parseDurationMs(retry.backoffBase) : DEFAULT_BACKOFF_BASE_MS,
    backoffCapMs: retry?.backoffCap ? parseDurationMs(retry.backoffCap) : DEFAULT_BACKOFF_CAP_MS,
    factor: 2,
    jitter: retry?.jitter === false ? 0 : 1,
    on: RETRIED_ERRORS,
  };
}
