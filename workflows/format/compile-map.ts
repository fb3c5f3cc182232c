import type { AnyStateNodeConfig, AnyTransitionConfig } from "xstate";
import type { Json } from "../core/json.ts";
import {
  caught,
  causeOf,
  childOf,
  type Compilation,
  documentOf,
  errorOfEvent,
  finish,
  guarded,
  OWN_STATE,
  pathFault,
  pathOf,
  type Reading,
  type RunContext,
  type Scope,
  targetOf,
} from "./compile-graph.ts";
import {
  branchError,
  ERROR_BRANCH,
  ERROR_INVALID_PATH,
  ERROR_PERMANENT,
  type FormatError,
} from "./format-error.ts";
import { getPath, isJsonObject } from "./json-path.ts";
import { parseJsonPath } from "./parse-json-path.ts";
import { type Shape, shapeInput, shapeOf, shapeOutput } from "./shape-document.ts";
import { type Graph, iteratorOf, type State } from "./spec.ts";

/** Items of one Map. */
export const MAX_ITEMS = 10_000;
/** Items of a Map whose items run through several states: their states lie in the run's snapshot. */
export const MAX_ITEMS_OF_STATES = 1_000;
const DEFAULT_MAX_CONCURRENCY = 10;

/**
 * A Map: checks its items, then invokes one actor for all of them. Items of a single Task are calls of the engine's own fan-out, which keeps items and
 * results outside the snapshot; items that run through several states are machines of their own inside the run (`item-machines.ts`).
 */
export function compileMap(
  compilation: Compilation,
  scope: Scope,
  name: string,
  state: State,
): AnyStateNodeConfig {
  const graph = iteratorOf(state) ?? { startAt: "", states: {} };
  const task = singleTask(graph);
  const shape = shapeOf(state);
  const itemsPath = parseJsonPath(state.itemsPath ?? "");
  const itemsOf = (context: RunContext): Json =>
    getPath(itemsPath, shapeInput(shape, documentOf(context, scope.slot))) ?? null;
  const max = task ? MAX_ITEMS : MAX_ITEMS_OF_STATES;
  return {
    initial: `${OWN_STATE}check`,
    states: {
      [`${OWN_STATE}check`]: {
        always: [
          ...unusable(scope, name, state, (context) => itemsFault(itemsOf(context), state.itemsPath, max)),
          ...whenEmpty(
            itemsOf,
            finish(scope, name, state, shape, () => []),
          ),
          { target: targetOf(scope, `${name}.${OWN_STATE}each`) },
        ],
      },
      [`${OWN_STATE}each`]: task
        ? eachCall(compilation, { scope, name, state, shape, task, itemsOf })
        : eachMachine(compilation, { scope, name, state, shape, graph, itemsOf }),
    },
  };
}

interface Each {
  readonly scope: Scope;
  readonly name: string;
  readonly state: State;
  readonly shape: Shape;
  readonly itemsOf: (context: RunContext) => Json;
}

/** The only state of an item, when it is a Task that nothing leads back to. */
export function singleTask(graph: Graph): State | undefined {
  const [only, ...others] = Object.values(graph.states);
  return only?.type === "Task" && others.length === 0 && !only.catch?.length ? only : undefined;
}

const listOf = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? value : []);

function itemsFault(items: Json, path: string | undefined, max: number): string | undefined {
  if (!Array.isArray(items)) return `itemsPath "${path}" selects no array`;
  return items.length > max
    ? `itemsPath "${path}" selects ${items.length} items, allowed are ${max}`
    : undefined;
}

const unusable = (
  scope: Scope,
  name: string,
  state: State,
  faultOf: (context: RunContext) => string | undefined,
): AnyTransitionConfig[] =>
  guarded(
    ({ context }) => faultOf(context) !== undefined,
    caught(scope, name, state.catch, ({ context }) => ({
      errorType: ERROR_PERMANENT,
      cause: faultOf(context) ?? null,
    })),
  );

const whenEmpty = (
  itemsOf: (context: RunContext) => Json,
  transitions: AnyTransitionConfig[],
): AnyTransitionConfig[] => guarded(({ context }) => listOf(itemsOf(context)).length === 0, transitions);

function eachCall(
  compilation: Compilation,
  { scope, name, state, shape, task, itemsOf }: Each & { readonly task: State },
): AnyStateNodeConfig {
  const path = pathOf(scope, name).join(".");
  const taskShape = shapeOf(task);
  compilation.actors[compilation.prefix + path] = {
    kind: "map",
    each: compilation.functionActor(task),
    maxConcurrency: state.maxConcurrency || DEFAULT_MAX_CONCURRENCY,
    tolerated: 0,
  };
  const outputs: Reading<readonly Json[]> = ({ context, event }) =>
    listOf(itemsOf(context)).map((item, at) =>
      shapeOutput(taskShape, item, listOf(event.output)[at] ?? null),
    );
  const fault: Reading<string | undefined> = (moment) => pathFault(() => outputs(moment));
  return {
    invoke: {
      id: childOf(path),
      src: compilation.prefix + path,
      input: ({ context }: { context: RunContext }) =>
        listOf(itemsOf(context)).map((item) => shapeInput(taskShape, item)),
      onDone: [
        ...guarded((moment) => fault(moment) === undefined, finish(scope, name, state, shape, outputs)),
        ...caught(scope, name, state.catch, (moment) =>
          branchError("", { errorType: ERROR_INVALID_PATH, cause: fault(moment) ?? null }),
        ),
      ],
      onError: caught(scope, name, state.catch, (moment) => itemError(errorOfEvent(moment))),
    },
  };
}

/** The engine's error of a map names the item in its cause: `{index, type, message, cause}`. */
function itemError(error: FormatError): FormatError {
  const { cause } = error;
  if (!isJsonObject(cause) || typeof cause["index"] !== "number") return branchError("", error);
  const errorType = typeof cause["type"] === "string" ? cause["type"] : error.errorType;
  return branchError(String(cause["index"]), {
    errorType,
    cause: causeOf(errorType, cause["cause"]) ?? cause["message"] ?? null,
  });
}

function eachMachine(
  compilation: Compilation,
  { scope, name, state, shape, graph, itemsOf }: Each & { readonly graph: Graph },
): AnyStateNodeConfig {
  const path = pathOf(scope, name).join(".");
  compilation.itemMachines[path] = {
    graph,
    maxConcurrency: state.maxConcurrency || DEFAULT_MAX_CONCURRENCY,
  };
  return {
    invoke: {
      id: childOf(path),
      src: compilation.prefix + path,
      input: ({ context }: { context: RunContext }) => itemsOf(context),
      onDone: finish(scope, name, state, shape, ({ event }) => event.output ?? null),
      onError: caught(scope, name, state.catch, ({ event }) => ({
        errorType: ERROR_BRANCH,
        cause: event.error?.cause ?? null,
      })),
    },
  };
}
