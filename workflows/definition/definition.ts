import type { Json } from "../core/json.ts";

/**
 * A workflow's machine as a reducer: what the engine asks of a definition, whoever runs its code (the definition host for TypeScript, this process for the
 * reference system's `startAt`/`states`). Nothing in it does anything; all that shall be done is returned as actions. Answers of a host are checked
 * against the schemas in `host-messages.ts` before the engine sees them.
 */
export interface Definition {
  /** sha256 of the code or of the canonical JSON; what a run pins. */
  readonly digest: string;
  readonly facts: DefinitionFacts;
  /** The first transition. Rejects with `DefinitionError`. */
  start(input: Json): Promise<Transition>;
  /** One transition. `snapshot` is what an earlier one gave. Rejects with `DefinitionError`; never changes its arguments. */
  transition(snapshot: string, event: MachineEvent): Promise<Transition>;
  /** Whether an event from outside has the shape that the definition declares: undefined, or what is wrong with which field. */
  checkEvent(event: MachineEvent): Promise<string | undefined>;
  /** The same of a run's input; absent: any is taken. */
  checkInput?(input: Json): Promise<string | undefined>;
}

/** What is known of a definition without running it. */
export interface DefinitionFacts {
  readonly id: string;
  /** Of the machine's named actors: what each stands for. */
  readonly actors: Readonly<Record<string, ActorFacts>>;
  /** JSON Schemas, when declared. */
  readonly input?: Json;
  readonly output?: Json;
  readonly events?: Readonly<Record<string, Json>>;
  /** The whole run's time limit. */
  readonly timeoutMs?: number;
  /** The machine as a graph, for pictures: nested states with their transitions. */
  readonly graph: GraphState;
}

export interface GraphState {
  readonly id: string;
  readonly key: string;
  readonly type: "atomic" | "compound" | "parallel" | "final" | "history";
  readonly initial?: string;
  readonly description?: string;
  /** Names of the actors that it invokes. */
  readonly invokes: readonly string[];
  readonly transitions: readonly {
    readonly event: string;
    readonly targets: readonly string[];
    readonly guard?: string;
  }[];
  readonly states: readonly GraphState[];
}

export type ActorFacts = FunctionActor | WorkflowActor | MapActor;

export interface FunctionActor {
  readonly kind: "function";
  /** In the workflow's namespace. */
  readonly name: string;
  readonly alias?: string;
  readonly version?: string;
  readonly method?: string;
  readonly path?: string;
  readonly retry?: RetryRule;
  /** Of one attempt. Default 5 min. */
  readonly attemptTimeoutMs?: number;
  /** Of all attempts together. */
  readonly totalTimeoutMs?: number;
  /** The function answers 202 and calls `…/heartbeat` at least this often until it calls back. */
  readonly heartbeatMs?: number;
  /** Completes when its one-time callback token is used, not when the function answers. */
  readonly waitForCallback?: boolean;
  /** Called, in reverse order, when the run is compensated: see `compensate` in the SDK. */
  readonly compensation?: string;
}

/** A run of another workflow; its output is the actor's. */
export interface WorkflowActor {
  readonly kind: "workflow";
  readonly name: string;
  /** What becomes of it when this run ends first. Default cancel. */
  readonly parentClose: "cancel" | "abandon";
  /** Each attempt is a run of its own. */
  readonly retry?: RetryRule;
  /** Of one run, which is cancelled then; without limit when absent. */
  readonly attemptTimeoutMs?: number;
  readonly totalTimeoutMs?: number;
}

/** One call per item of the input, an array (or `{items, …}`). Output: the results in order of the items. */
export interface MapActor {
  readonly kind: "map";
  readonly each: FunctionActor | WorkflowActor;
  /** Default 10. */
  readonly maxConcurrency: number;
  /** Items that may fail: then their result is `{error}`. Number or share 0..1. Default 0. */
  readonly tolerated: number | { readonly share: number };
}

/** Retries are counted per visit of the state. */
export interface RetryRule {
  /** Attempts in all, 1..1,000. */
  readonly maxAttempts: number;
  readonly backoffBaseMs: number;
  readonly backoffCapMs: number;
  readonly factor: number;
  /** Share of the pause that is random, 0..1. */
  readonly jitter: number;
  /** Error classes that are retried; absent = all but permanent ones. */
  readonly on?: readonly string[];
  /** Rules per error class, which win over the rest. */
  readonly perClass?: Readonly<Record<string, Omit<RetryRule, "perClass" | "on">>>;
}

export interface MachineEvent {
  readonly type: string;
  readonly [key: string]: Json | undefined;
}

/** What a transition gives. */
export interface Transition {
  /** JSON text of the machine's persisted snapshot, with its children. The same text as before = nothing changed. */
  readonly snapshot: string;
  readonly status: "active" | "done" | "error";
  /** Present with `done`. */
  readonly output?: Json;
  /** Present with `error`. */
  readonly error?: ErrorFacts;
  readonly actions: readonly Action[];
  /** Paths of the active leaf states, e.g. `payment.charging`. */
  readonly states: readonly string[];
  /** Types of events that the machine takes now; `*` = any. Events of the engine's own are left out. */
  readonly accepts: readonly string[];
}

export interface ErrorFacts {
  /** Class of the error, e.g. `Fission.Timeout`, or the name that the function gave. */
  readonly type: string;
  readonly message: string;
  /** Trying again would not help, whatever class it is of: a function answered 4xx. Retried only by a rule that names the class. */
  readonly permanent?: boolean;
}

/**
 * What the engine is to do. `id` of a child and of a timer is XState's, which comes again when a state is entered again: the engine gives each
 * visit a token of its own.
 */
export type Action =
  | { readonly kind: "invoke"; readonly id: string; readonly actor: string; readonly input: Json }
  | { readonly kind: "stop"; readonly id: string }
  | {
      readonly kind: "timer";
      readonly id: string;
      readonly event: MachineEvent;
      readonly delayMs: number;
    }
  | { readonly kind: "cancel-timer"; readonly id: string }
  | { readonly kind: "emit"; readonly event: MachineEvent }
  | { readonly kind: "log"; readonly label: string; readonly value: Json };

/** Events of the engine's own: how it feeds results back. External events of such names are refused. */
export const doneEvent = (childId: string, output: Json): MachineEvent => ({
  type: `xstate.done.actor.${childId}`,
  output,
});
export const errorEvent = (childId: string, error: ErrorFacts & { readonly cause?: Json }): MachineEvent => ({
  type: `xstate.error.actor.${childId}`,
  error: { ...error },
});

/** A definition that cannot answer: its code threw, ran for too long or took too much memory. The run fails with it. */
export class DefinitionError extends Error {
  /** `definition_threw`, `definition_timeout`, `definition_memory`, `definition_invalid` (an answer outside the schema), `definition_unavailable` (the host: to be tried again). */
  readonly code: DefinitionErrorCode;
  constructor(code: DefinitionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "DefinitionError";
    this.code = code;
  }
}
export type DefinitionErrorCode =
  | "definition_threw"
  | "definition_timeout"
  | "definition_memory"
  | "definition_invalid"
  | "definition_unavailable";
