import { type AnyStateNodeConfig, type AnyTransitionConfig, assign } from "xstate";
import { parseDurationMs } from "../../api/duration.ts";
import type { Json } from "../core/json.ts";
import type { FunctionActor, MapActor } from "../definition/definition.ts";
import {
  branchError,
  ERROR_ALL,
  ERROR_FAILED,
  ERROR_INVALID_PATH,
  ERROR_NO_CHOICE,
  type FormatError,
} from "./format-error.ts";
import { compileRule } from "./choose.ts";
import { InvalidPathError, isJsonObject, setPath } from "./json-path.ts";
import { parseJsonPath } from "./parse-json-path.ts";
import { type Shape, shapeInput, shapeOf, shapeOutput } from "./shape-document.ts";
import type { CatchRoute, Graph, State } from "./spec.ts";

/** Id of every compiled machine; targets are `#run.<path>`. */
export const MACHINE_ID = "run";
/** Keys of states that the compiler adds begin with this, which no name of a user's state can. */
export const OWN_STATE = "$";

/** What a compiled machine remembers. */
export interface RunContext {
  /** The flowing document of the workflow ("") and of each branch that runs, by its path. */
  readonly documents: Readonly<Record<string, Json>>;
  /** Branches of a Parallel that have ended, by its path: those beyond its maxConcurrency wait for them. */
  readonly ended: Readonly<Record<string, number>>;
  /** Why the run has failed. */
  readonly failure?: FormatError;
}
export interface RunEvent {
  readonly type: string;
  readonly output?: Json;
  readonly error?: { readonly type: string; readonly message: string; readonly cause?: Json };
}
interface Moment {
  readonly context: RunContext;
  readonly event: RunEvent;
}
export type Reading<T> = (moment: Moment) => T;

/** What is collected on the way. */
export interface Compilation {
  /** By path of their state. */
  readonly actors: Record<string, FunctionActor | MapActor>;
  /** Maps whose items run through several states, by path. */
  readonly itemMachines: Record<string, { readonly graph: Graph; readonly maxConcurrency: number }>;
  /** Put before the names of actors. */
  readonly prefix: string;
  functionActor(state: State): FunctionActor;
  compileMap(compilation: Compilation, scope: Scope, name: string, state: State): AnyStateNodeConfig;
}

/** The states of one graph: the workflow's own, or those of a branch. */
export interface Scope {
  readonly graph: Graph;
  readonly path: readonly string[];
  /** Where its document lies in the context. */
  readonly slot: string;
  /** Where an error goes that no catch route takes. */
  fail(errorOf: Reading<FormatError>): AnyTransitionConfig[];
}

export const rootScope = (graph: Graph): Scope => ({
  graph,
  path: [],
  slot: "",
  fail: (errorOf) => [
    {
      target: `#${MACHINE_ID}.${OWN_STATE}failed`,
      actions: assign(({ context, event }: Moment) => ({ failure: errorOf({ context, event }) })),
    },
  ],
});

/** Configuration of the states of a graph, with the end that `end: true` leads to. */
export function compileStates(
  compilation: Compilation,
  scope: Scope,
  end: AnyStateNodeConfig,
): Record<string, AnyStateNodeConfig> {
  const states: Record<string, AnyStateNodeConfig> = {};
  for (const [name, state] of Object.entries(scope.graph.states))
    states[name] = compileState(compilation, scope, name, state, end);
  states[`${OWN_STATE}end`] = end;
  return states;
}

function compileState(
  compilation: Compilation,
  scope: Scope,
  name: string,
  state: State,
  end: AnyStateNodeConfig,
): AnyStateNodeConfig {
  switch (state.type) {
    case "Task":
      return compileTask(compilation, scope, name, state);
    case "Choice":
      return compileChoice(scope, name, state);
    case "Parallel":
      return compileParallel(compilation, scope, name, state);
    case "Map":
      return compilation.compileMap(compilation, scope, name, state);
    case "Wait":
      return { after: { [parseDurationMs(state.duration ?? "")]: { target: nextOf(scope, state) } } };
    case "Succeed":
      return end;
    default: {
      const failure: FormatError = { errorType: state.error ?? ERROR_FAILED, cause: state.cause ?? null };
      return { always: scope.fail(() => failure) };
    }
  }
}

function compileTask(compilation: Compilation, scope: Scope, name: string, state: State): AnyStateNodeConfig {
  const path = pathOf(scope, name).join(".");
  const shape = shapeOf(state);
  compilation.actors[compilation.prefix + path] = compilation.functionActor(state);
  return {
    invoke: {
      id: childOf(path),
      src: compilation.prefix + path,
      input: ({ context }: Moment) => shapeInput(shape, documentOf(context, scope.slot)),
      onDone: finish(scope, name, state, shape, ({ event }) => event.output ?? null),
      onError: caught(scope, name, state.catch, errorOfEvent),
    },
  };
}

/** The error that the engine reports for a step: with the cause that the function gave under `cause` where it named the class itself. */
export const errorOfEvent: Reading<FormatError> = ({ event: { error } }) => ({
  errorType: error?.type ?? ERROR_FAILED,
  cause: causeOf(error?.type, error?.cause) ?? error?.message ?? null,
});

export const causeOf = (type: string | undefined, body: Json | undefined): Json | undefined =>
  isJsonObject(body) && body["errorType"] !== undefined && body["errorType"] === type
    ? (body["cause"] ?? null)
    : body;

function compileChoice(scope: Scope, name: string, state: State): AnyStateNodeConfig {
  const rules = (state.choices ?? []).map((choice) => {
    const rule = compileRule(choice);
    return {
      guard: ({ context }: Moment) => rule(documentOf(context, scope.slot)),
      target: targetOf(scope, choice.next),
    };
  });
  const otherwise = state.default
    ? [{ target: targetOf(scope, state.default) }]
    : scope.fail(() => ({
        errorType: ERROR_NO_CHOICE,
        cause: `No rule of state "${name}" holds, and it has no default`,
      }));
  return { always: [...rules, ...otherwise] };
}

function compileParallel(
  compilation: Compilation,
  scope: Scope,
  name: string,
  state: State,
): AnyStateNodeConfig {
  const path = pathOf(scope, name);
  const fan = path.join(".");
  const shape = shapeOf(state);
  const branches = state.branches ?? [];
  const lanes = state.maxConcurrency || branches.length;
  const slots = branches.map((_branch, at) => `${fan}.${at}`);
  const regions = branches.map((graph, at) =>
    compileBranch(compilation, { scope, name, state, graph, at, lanes }),
  );
  return {
    type: "parallel",
    entry: assign(({ context }: Moment) => {
      const input = shapeInput(shape, documentOf(context, scope.slot));
      return {
        documents: { ...context.documents, ...Object.fromEntries(slots.map((slot) => [slot, input])) },
        ended: { ...context.ended, [fan]: 0 },
      };
    }),
    states: Object.fromEntries(regions.map((region, at) => [String(at), region])),
    onDone: finish(scope, name, state, shape, ({ context }) =>
      slots.map((slot) => documentOf(context, slot)),
    ),
  };
}

interface Branch {
  readonly scope: Scope;
  readonly name: string;
  readonly state: State;
  readonly graph: Graph;
  readonly at: number;
  readonly lanes: number;
}

function compileBranch(
  compilation: Compilation,
  { scope, name, state, graph, at, lanes }: Branch,
): AnyStateNodeConfig {
  const path = [...pathOf(scope, name), String(at)];
  const fan = pathOf(scope, name).join(".");
  const inner: Scope = {
    graph,
    path,
    slot: path.join("."),
    fail: (errorOf) => caught(scope, name, state.catch, (moment) => branchError(String(at), errorOf(moment))),
  };
  const end: AnyStateNodeConfig = {
    type: "final",
    entry: assign(({ context }: Moment) => ({
      ended: { ...context.ended, [fan]: (context.ended[fan] ?? 0) + 1 },
    })),
  };
  const waits = at >= lanes;
  return {
    initial: waits ? `${OWN_STATE}waiting` : graph.startAt,
    states: {
      ...compileStates(compilation, inner, end),
      ...(waits
        ? {
            [`${OWN_STATE}waiting`]: {
              always: {
                guard: ({ context }: Moment) => (context.ended[fan] ?? 0) > at - lanes,
                target: targetOf(inner, graph.startAt),
              },
            },
          }
        : {}),
    },
  };
}

/** Id of the child of a state, as XState would name it: histories show the path in it. */
export const childOf = (path: string): string => `0.${MACHINE_ID}.${path}`;
export const pathOf = (scope: Scope, name: string): string[] => [...scope.path, name];
export const targetOf = (scope: Scope, name: string): string =>
  `#${[MACHINE_ID, ...pathOf(scope, name)].join(".")}`;
export const nextOf = (scope: Scope, state: State): string =>
  targetOf(scope, state.next ?? `${OWN_STATE}end`);
export const documentOf = (context: RunContext, slot: string): Json => context.documents[slot] ?? null;

/** The transitions of a state that has its result: on with the next document, or what an unwritable path leads to. */
export function finish(
  scope: Scope,
  name: string,
  state: State,
  shape: Shape,
  resultOf: Reading<Json>,
): AnyTransitionConfig[] {
  const shaped: Reading<Json> = (moment) =>
    shapeOutput(shape, documentOf(moment.context, scope.slot), resultOf(moment));
  const fault: Reading<string | undefined> = (moment) => pathFault(() => shaped(moment));
  return [
    {
      guard: (moment: Moment) => fault(moment) === undefined,
      target: nextOf(scope, state),
      actions: setDocument(scope, name, shaped),
    },
    ...caught(scope, name, state.catch, (moment) => ({
      errorType: ERROR_INVALID_PATH,
      cause: fault(moment) ?? null,
    })),
  ];
}

/** The transitions of an error: to the first route of its class, else to where the scope sends it. */
export function caught(
  scope: Scope,
  name: string,
  routes: readonly CatchRoute[] | undefined,
  errorOf: Reading<FormatError>,
): AnyTransitionConfig[] {
  const transitions = (routes ?? []).flatMap((route): AnyTransitionConfig[] => {
    const matches: Reading<boolean> = (moment) =>
      route.errorType === ERROR_ALL || route.errorType === errorOf(moment).errorType;
    const at = route.resultPath ? parseJsonPath(route.resultPath) : undefined;
    const document: Reading<Json> = (moment) => {
      const error: Json = { ...errorOf(moment) };
      return at ? setPath(at, documentOf(moment.context, scope.slot), error) : error;
    };
    const fault: Reading<string | undefined> = (moment) => pathFault(() => document(moment));
    const target = targetOf(scope, route.next);
    const taken = {
      guard: (moment: Moment) => matches(moment) && fault(moment) === undefined,
      target,
      actions: setDocument(scope, name, document),
    };
    const unwritable: Reading<FormatError> = (moment) => ({
      errorType: ERROR_INVALID_PATH,
      cause: fault(moment) ?? null,
    });
    return at ? [taken, ...guarded(matches, scope.fail(unwritable))] : [taken];
  });
  return [...transitions, ...scope.fail(errorOf)];
}

/** The same transitions, under one more condition. */
export const guarded = (
  condition: Reading<boolean>,
  transitions: AnyTransitionConfig[],
): AnyTransitionConfig[] =>
  transitions.map((transition) => {
    const own: unknown = transition.guard;
    return {
      ...transition,
      guard: (moment: Moment) =>
        condition(moment) && (typeof own === "function" ? Boolean(own(moment)) : true),
    };
  });

/** Writes the scope's document and forgets those of the branches of the state that is left. */
function setDocument(scope: Scope, left: string, value: Reading<Json>) {
  const under = `${pathOf(scope, left).join(".")}.`;
  const fan = pathOf(scope, left).join(".");
  const kept = <T>(of: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(of).filter(([key]) => key !== fan && !key.startsWith(under)));
  return assign(({ context, event }: Moment) => ({
    documents: { ...kept(context.documents), [scope.slot]: value({ context, event }) },
    ended: kept(context.ended),
  }));
}

/** Why a path cannot be followed or written. */
export function pathFault(use: () => unknown): string | undefined {
  try {
    use();
    return undefined;
  } catch (error) {
    if (error instanceof InvalidPathError) return error.message;
    throw error;
  }
}
