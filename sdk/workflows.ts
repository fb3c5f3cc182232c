/**
 * Durable workflows in XState: `import { defineWorkflow, fn, map, workflow } from "@isotope/platform/workflows"`.
 *
 *     const machine = setup({
 *       types: { input: {} as { order: string }, context: {} as { order: string } },
 *       actors: { charge: fn<{ order: string }, { receipt: string }>("charge-card", { retry: 5, timeout: "10s" }) },
 *     }).createMachine({ … invoke: { src: "charge", input: ({ context }) => context, onDone: "paid" } … });
 *     export default defineWorkflow({ id: "order", machine });
 */
import {
  type AnyStateMachine,
  type EventFromLogic,
  fromPromise,
  type InputFrom,
  type OutputFrom,
  type PromiseActorLogic,
} from "xstate";
import { parseDurationMs } from "../api/duration.ts";
import { type CodeDefinition, codeDefinition } from "../workflows/definition/code-definition.ts";
import type {
  ActorFacts,
  ErrorFacts,
  FunctionActor,
  RetryRule as RetryFacts,
  WorkflowActor,
} from "../workflows/definition/definition.ts";
import type { Schema, SchemaInput, SchemaOutput } from "../workflows/definition/schema.ts";
import { asStep, stepOf } from "../workflows/definition/step-logic.ts";
import type { Cors, Duration, HttpMethod, Route } from "./function-config.ts";

export type { Schema } from "../workflows/definition/schema.ts";
export type { Duration } from "./function-config.ts";

/** A step as XState takes it in `setup({ actors })`. It is data: what it stands for is called by the platform, once per visit of the state that invokes it. */
export type Step<Output, Input> = PromiseActorLogic<Output, Input>;

/** How often a step is tried again, per visit of its state. A number: attempts in all. */
export interface Retry {
  /** Attempts in all, 1 to 1,000; default 3. */
  attempts?: number | undefined;
  /** Pause before the second attempt; default 1 s. */
  base?: Duration | undefined;
  /** Longest pause; default 1 min. */
  cap?: Duration | undefined;
  /** By what each pause is longer than the one before it; default 2. */
  factor?: number | undefined;
  /** Share of each pause that is left to chance, 0 to 1; default 0.5. */
  jitter?: number | undefined;
  /** Error classes that are tried again; default: all but permanent ones (answers 4xx). */
  on?: readonly string[] | undefined;
  /** Rules for single error classes, which win over the rest. */
  perClass?: Readonly<Record<string, Omit<Retry, "on" | "perClass">>> | undefined;
}

export interface FunctionOptions {
  /** Alias of the function; the run picks one of its versions at its start and stays with it. */
  alias?: string | undefined;
  /** Version of the function, instead of the one that serves when the run starts. */
  version?: string | undefined;
  /** Default POST. */
  method?: string | undefined;
  /** Path below the function; default "/". */
  path?: string | undefined;
  /** Default: 3 attempts. */
  retry?: number | Retry | undefined;
  /** Of one attempt; default 5 min. */
  timeout?: Duration | undefined;
  /** Of all attempts with their pauses. */
  totalTimeout?: Duration | undefined;
  /** The function answers 202 and then sends a heartbeat at least this often until it calls back. */
  heartbeat?: Duration | undefined;
  /** The step is done when its one-time callback address is called, not when the function answers. */
  waitForCallback?: boolean | undefined;
  /** Step (by its name in `actors`) that undoes this one when the run fails or is cancelled later: called with `{ input, output }` of this one. */
  compensate?: string | undefined;
}

/** With schemas, what is sent and what comes back is checked, and its types are theirs. */
export interface FunctionSchemas<I extends Schema, O extends Schema> {
  input?: I | undefined;
  output?: O | undefined;
}

/** Calls a function of the workflow's namespace. `Input` is sent as JSON, `Output` is its answer's JSON. */
export function fn<Input = unknown, Output = unknown>(
  name: string,
  options?: FunctionOptions,
): Step<Output, Input>;
export function fn<I extends Schema, O extends Schema>(
  name: string,
  options: FunctionOptions & FunctionSchemas<I, O>,
): Step<SchemaOutput<O>, SchemaInput<I>>;
export function fn(
  name: string,
  options: FunctionOptions & FunctionSchemas<Schema, Schema> = {},
): Step<unknown, unknown> {
  const facts: FunctionActor = {
    kind: "function",
    name,
    ...present("alias", options.alias),
    ...present("version", options.version),
    ...present("method", options.method),
    ...present("path", options.path),
    ...present("retry", options.retry === undefined ? undefined : retryFacts(`fn("${name}")`, options.retry)),
    ...present("attemptTimeoutMs", milliseconds(`timeout of fn("${name}")`, options.timeout)),
    ...present("totalTimeoutMs", milliseconds(`totalTimeout of fn("${name}")`, options.totalTimeout)),
    ...present("heartbeatMs", milliseconds(`heartbeat of fn("${name}")`, options.heartbeat)),
    ...present("waitForCallback", options.waitForCallback),
    ...present("compensation", options.compensate),
  };
  return asStep(idle(), { facts, input: options.input, output: options.output });
}

/** What stands for an item that failed and was tolerated. */
export interface FailedItem {
  readonly error: ErrorFacts;
}

export interface MapOptions {
  /** Items at once; default 10. */
  maxConcurrency?: number | undefined;
  /** Items that may fail: a number, or a share such as "10%". Default 0. */
  tolerated?: number | `${number}%` | undefined;
}

/** One call per item of the input; the output holds the results in the order of the items. Tolerated failures are `{ error }`. */
export function map<Output, Input>(
  each: Step<Output, Input>,
  options?: MapOptions & { tolerated?: 0 | undefined },
): Step<Output[], readonly Input[]>;
export function map<Output, Input>(
  each: Step<Output, Input>,
  options: MapOptions,
): Step<(Output | FailedItem)[], readonly Input[]>;
export function map(each: object, options: MapOptions = {}): object {
  const inner = stepOf(each)?.facts;
  if (!inner || inner.kind === "map")
    throw new TypeError('map takes fn("<function>") or workflow("<workflow>")');
  const maxConcurrency = options.maxConcurrency ?? 10;
  if (!Number.isInteger(maxConcurrency) || maxConcurrency < 1)
    throw new TypeError(`maxConcurrency of map must be a whole number from 1 on, got ${maxConcurrency}`);
  const facts: ActorFacts = { kind: "map", each: inner, maxConcurrency, tolerated: tolerated(options) };
  return asStep(idle(), { facts });
}

export interface ChildOptions {
  /** How often it is started anew when it fails, each time as a run of its own; default: not at all. One that was cancelled or terminated is not. */
  retry?: number | Retry | undefined;
  /** Of one run, which is cancelled then; default: without limit. */
  timeout?: Duration | undefined;
  /** Of all runs with their pauses. */
  totalTimeout?: Duration | undefined;
  /** What becomes of the child when this run ends first; default "cancel". */
  parentClose?: "cancel" | "abandon" | undefined;
}

/** A run of another workflow of the namespace: its output is the step's. */
export function workflow<Input = unknown, Output = unknown>(
  name: string,
  options?: ChildOptions,
): Step<Output, Input>;
export function workflow<Input, Output>(
  definition: WorkflowDefinition<Input, Output>,
  options?: ChildOptions & { name?: string | undefined },
): Step<Output, Input>;
export function workflow(
  given: string | CodeDefinition,
  options: ChildOptions & { name?: string | undefined } = {},
): Step<unknown, unknown> {
  const name = typeof given === "string" ? given : (options.name ?? given.id);
  const of = `workflow("${name}")`;
  const facts: WorkflowActor = {
    kind: "workflow",
    name,
    parentClose: options.parentClose ?? "cancel",
    ...present("retry", options.retry === undefined ? undefined : retryFacts(of, options.retry)),
    ...present("attemptTimeoutMs", milliseconds(`timeout of ${of}`, options.timeout)),
    ...present("totalTimeoutMs", milliseconds(`totalTimeout of ${of}`, options.totalTimeout)),
  };
  return asStep(idle(), { facts });
}

/** A step and the one that undoes it when the run fails or is cancelled later; undone is in reverse order. */
export function compensate<Output, Input, Undone, UndoInput>(
  step: Step<Output, Input>,
  undo: Step<Undone, UndoInput> &
    ({ input: Input; output: Output } extends UndoInput ? unknown : UndoInputMustFit<Input, Output>),
): Step<Output, Input> {
  const [done, undoing] = [stepOf(step), stepOf(undo)];
  if (done?.facts.kind !== "function" || undoing?.facts.kind !== "function")
    throw new TypeError('compensate takes two steps made by fn("<function>")');
  return asStep(idle<Output, Input>(), { ...done, compensateWith: undo });
}

/** `export const config = {...}` of a workflow's file: read from the file's text, never executed, literals only. */
export interface WorkflowConfig {
  /** Name of the workflow; default: the name of its file or folder. */
  name?: string | undefined;
  /** Where a call starts a run; default: nowhere. */
  route?: string | Route | (string | Route)[] | false | undefined;
  /** How long such a call waits for the end of its run; default: it gets the run's address at once. */
  wait?: Duration | undefined;
  /** Methods of routes that name none; default POST. */
  methods?: HttpMethod[] | undefined;
  /** CORS of routes that name none. */
  cors?: Cors | undefined;
  /** Named export that is the workflow; default: the default export. */
  export?: string | undefined;
  /** Environment whose builder bundles it; default `deno`. */
  environment?: string | undefined;
  /** Whether the build fails on type errors. */
  typeCheck?: boolean | undefined;
}

/** Milliseconds of a duration such as "3d" or "1h30m": for `after` and `delays`. */
export const duration = (value: Duration): number => milliseconds("duration", value) ?? 0;

/** What a failed step says in `onError`: `({ event }) => failure(event).type`. */
export interface StepFailure extends ErrorFacts {
  /** The body that the function answered with, when it was JSON. */
  readonly cause?: unknown;
}
export function failure(event: { readonly error?: unknown }): StepFailure {
  const { error } = event;
  if (typeof error !== "object" || error === null || !("type" in error) || !("message" in error))
    return { type: "Error", message: String(error) };
  return {
    type: String(error.type),
    message: String(error.message),
    ...("cause" in error ? { cause: error.cause } : {}),
  };
}

/** Events of `events` as the machine's types want them: `types: { events: {} as EventsOf<typeof events> }`. */
export type EventsOf<Events extends Readonly<Record<string, Schema>>> = {
  [Type in keyof Events & string]: { type: Type } & SchemaOutput<Events[Type]>;
}[keyof Events & string];

declare const TYPES: unique symbol;
/** What a workflow's module exports. */
export interface WorkflowDefinition<Input = unknown, Output = unknown> extends CodeDefinition {
  readonly machine: AnyStateMachine;
  /** For the compiler alone. */
  readonly [TYPES]?: { readonly input: Input; readonly output: Output };
}

export interface WorkflowOptions<
  Machine extends AnyStateMachine,
  Input extends Schema,
  Output extends Schema,
  Events extends Readonly<Record<string, Schema>>,
> {
  /** Default: the machine's id. */
  id?: string | undefined;
  /** Schema of the input (zod or any other Standard Schema): what does not fit starts no run. */
  input?:
    | (Schema extends Input
        ? Schema
        : SchemaOutput<Input> extends InputFrom<Machine>
          ? Input
          : InputMustFit<InputFrom<Machine>>)
    | undefined;
  /** Schema of the output. */
  output?:
    | (Schema extends Output
        ? Schema
        : OutputFrom<Machine> extends SchemaInput<Output>
          ? Output
          : OutputMustFit<OutputFrom<Machine>>)
    | undefined;
  /** Schemas of the events that may be sent to a run, by their type, without the field `type`. Others are refused. */
  events?:
    | (EventsOf<Events> extends EventFromLogic<Machine> ? Events : EventsMustFit<EventFromLogic<Machine>>)
    | undefined;
  /** Of the whole run. */
  timeout?: Duration | undefined;
  machine: Machine;
}
interface InputMustFit<Wanted> {
  "the schema's type does not fit the machine's input": Wanted;
}
interface UndoInputMustFit<Input, Output> {
  "the step that undoes must take": { input: Input; output: Output };
}
interface OutputMustFit<Given> {
  "the machine's output does not fit the schema": Given;
}
interface EventsMustFit<Wanted> {
  "the schemas' types do not fit the machine's events": Wanted;
}

/** A workflow, from its machine: what `workflows/<name>.ts` exports as default. */
export function defineWorkflow<
  Machine extends AnyStateMachine,
  Input extends Schema = Schema,
  Output extends Schema = Schema,
  Events extends Readonly<Record<string, Schema>> = Readonly<Record<string, Schema>>,
>(
  options: WorkflowOptions<Machine, Input, Output, Events>,
): WorkflowDefinition<Schema extends Input ? InputFrom<Machine> : SchemaInput<Input>, OutputFrom<Machine>> {
  const { machine } = options;
  const timeoutMs = milliseconds(`timeout of workflow "${options.id ?? machine.id}"`, options.timeout);
  const parts = {
    id: options.id ?? machine.id,
    machine,
    input: asSchema("input", options.input),
    output: asSchema("output", options.output),
    events: options.events && asSchemas(options.events),
    timeoutMs,
  };
  return { ...codeDefinition(parts), machine };
}

function asSchemas(events: object): Readonly<Record<string, Schema>> {
  const schemas: Record<string, Schema> = {};
  for (const [type, schema] of Object.entries(events)) {
    const found = asSchema(`events.${type}`, schema);
    if (found) schemas[type] = found;
  }
  return schemas;
}

function asSchema(name: string, value: unknown): Schema | undefined {
  if (value === undefined) return undefined;
  // Some libraries' schemas are functions.
  if ((typeof value === "object" || typeof value === "function") && value !== null && "~standard" in value)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the standard's own mark
    return value as Schema;
  throw new TypeError(
    `"${name}" of defineWorkflow must be a schema of zod or another library that follows Standard Schema`,
  );
}

/** Logic that never does anything: the platform acts for it. */
const idle = <Output, Input>(): Step<Output, Input> =>
  fromPromise<Output, Input>(() => new Promise<Output>(() => undefined));

const present = <Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: Value } =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a computed key loses its literal type
  (value === undefined ? {} : { [key]: value }) as { [K in Key]?: Value };

function milliseconds(what: string, value: Duration | undefined): number | undefined {
  if (value === undefined) return undefined;
  const ms = typeof value === "number" ? value * 1000 : parseDurationMs(value);
  if (!(ms > 0) || !Number.isFinite(ms))
    throw new TypeError(
      `${what} must be a positive number of seconds or text such as "30s", got ${JSON.stringify(value)}`,
    );
  return Math.round(ms);
}

const DEFAULT_RETRY = { maxAttempts: 3, backoffBaseMs: 1_000, backoffCapMs: 60_000, factor: 2, jitter: 0.5 };

/** @param of the step, in errors */
function retryFacts(of: string, given: number | Retry): RetryFacts {
  const { on, perClass, ...rest } = typeof given === "number" ? { attempts: given } : given;
  const classes = Object.entries(perClass ?? {}).map(([type, rule]) => [type, backoff(of, rule)]);
  return {
    ...backoff(of, rest),
    ...present("on", on),
    ...(perClass ? { perClass: Object.fromEntries(classes) } : {}),
  };
}

function backoff(of: string, retry: Omit<Retry, "on" | "perClass">): Omit<RetryFacts, "on" | "perClass"> {
  const what = (field: string): string => `retry.${field} of ${of}`;
  return {
    maxAttempts: within(what("attempts"), retry.attempts ?? DEFAULT_RETRY.maxAttempts, 1, 1_000),
    backoffBaseMs: milliseconds(what("base"), retry.base) ?? DEFAULT_RETRY.backoffBaseMs,
    backoffCapMs: milliseconds(what("cap"), retry.cap) ?? DEFAULT_RETRY.backoffCapMs,
    factor: within(what("factor"), retry.factor ?? DEFAULT_RETRY.factor, 1, 100),
    jitter: within(what("jitter"), retry.jitter ?? DEFAULT_RETRY.jitter, 0, 1),
  };
}

function within(what: string, value: number, min: number, max: number): number {
  if (value >= min && value <= max) return value;
  throw new TypeError(`${what} must be ${min}..${max}, got ${value}`);
}

function tolerated({ tolerated: given = 0 }: MapOptions): number | { readonly share: number } {
  if (typeof given === "number") {
    if (Number.isInteger(given) && given >= 0) return given;
  } else {
    const percent = Number(given.slice(0, -1));
    if (given.endsWith("%") && percent >= 0 && percent <= 100) return { share: percent / 100 };
  }
  throw new TypeError(
    `tolerated of map must be a whole number or a share such as "10%", got ${JSON.stringify(given)}`,
  );
}
