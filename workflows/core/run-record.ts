import type { ErrorFacts, MachineEvent } from "../definition/definition.ts";
import type { Json } from "./json.ts";

/** Of the records that this code writes and understands. */
export const RUN_FORMAT = 1;

/** A run's address. `id` is unique in its namespace: 1..128 characters of `A-Za-z0-9._-`, chosen by the caller or made up. */
export interface RunKey {
  readonly namespace: string;
  readonly id: string;
}

export type RunStatus = "running" | "succeeded" | "failed" | "cancelled" | "timed-out" | "terminated";

/** A JSON value, or where it lies when it is larger than 256 KiB: `{ref}` in the payload store. */
export type Payload = { readonly value: Json } | { readonly ref: string; readonly bytes: number };

/** What never changes after the start. */
export interface RunFacts {
  readonly key: RunKey;
  readonly workflow: string;
  readonly workflowUid: string;
  /** Of the Workflow object. */
  readonly generation: number;
  readonly definition: string;
  readonly input: Payload;
  /** Actor name → what it resolved to at the start. A plain function is pinned to a version of it. */
  readonly pins: Readonly<Record<string, Pin>>;
  /** `token`, `attempt`: of the step, or item of a map, that this run is. */
  readonly parent?: {
    readonly key: RunKey;
    readonly token: string;
    readonly attempt?: number;
    readonly close: "cancel" | "abandon";
  };
  /** Why and from where: `api`, `http:<trigger>`, `object:<WorkflowRun>`, `parent`, `timer:…`. */
  readonly startedBy: string;
  /** Versions of this format that a worker must know: an older one leaves the run alone. */
  readonly format: number;
}
/** With what is needed to end the run without its definition: where a compensation is called, what becomes of a child. */
export type Pin =
  | {
      readonly kind: "function";
      readonly name: string;
      readonly version: string;
      readonly method?: string;
      readonly path?: string;
    }
  /** `parentClose` absent: cancel. */
  | { readonly kind: "workflow"; readonly name: string; readonly parentClose?: "abandon" };

/** All that the engine knows of a run between two commits. Lives in one hash; `version` counts the commits. */
export interface RunRecord {
  readonly facts: RunFacts;
  readonly version: number;
  readonly status: RunStatus;
  /** Text of the machine's snapshot; empty until a worker has made the first transition. */
  readonly snapshot: string;
  readonly states: readonly string[];
  readonly accepts: readonly string[];
  /** Open effects by token. */
  readonly effects: Readonly<Record<string, Effect>>;
  /** Set timers by token. */
  readonly timers: Readonly<Record<string, Timer>>;
  /** Number of the last transition; the next one has this + 1. */
  readonly transition: number;
  /** By the store's clock, ms since 1970. */
  readonly startedAt: number;
  readonly updatedAt: number;
  readonly finishedAt?: number;
  readonly output?: Payload;
  readonly error?: ErrorFacts;
  /** The whole run's time limit, by the store's clock. */
  readonly deadlineAt?: number;
  /** How it will end, which nothing changes any more: compensations and duties are still open. `status` stays `running` until they are done. */
  readonly ending?: Ending;
  /** Of a run that failed or timed out, nothing of it compensated: where `retry` goes on. */
  readonly resume?: Resume;
  /** Events that the machine did not take when they came and whose sender asked to keep them, in order of arrival. */
  readonly buffered: readonly BufferedEvent[];
  /** Of completed effects, in the order of completion; called from the last to the first on failure. */
  readonly compensations: readonly Compensation[];
}
export interface Ending {
  readonly status: Exclude<RunStatus, "running">;
  readonly output?: Payload;
  readonly error?: ErrorFacts;
  /** The duty to tell the parent has been opened. */
  readonly told?: boolean;
}
/** What a run was before the transition that made it fail. */
export interface Resume {
  readonly snapshot: string;
  readonly states: readonly string[];
  readonly accepts: readonly string[];
  readonly effects: Readonly<Record<string, Effect>>;
  readonly timers: Readonly<Record<string, Timer>>;
}
export interface BufferedEvent {
  readonly id: string;
  readonly event: MachineEvent;
}
/** Of a completed effect: what undoes it. The compensating function is called with `{input, output}` of that effect. */
export interface Compensation {
  readonly token: string;
  /** The compensating actor. */
  readonly actor: string;
  readonly state: string;
  readonly input: Payload;
  readonly output: Payload;
}

/** `token` = `<transition>.<index>`: unique in its run, and the effect's id `<run>/<transition>/<index>` for ever, however often it is tried. */
export interface Effect {
  readonly token: string;
  /** XState's id of the child, to feed the result back. */
  readonly child: string;
  readonly actor: string;
  readonly state: string;
  readonly input: Payload;
  /** Number of the present attempt, from 1. An attempt that a crash cut short is made again under its number. */
  readonly attempt: number;
  /** When its first attempt was scheduled, for the total time limit. */
  readonly startedAt: number;
  /** When the present attempt was scheduled. */
  readonly attemptAt: number;
  /** Not before; a retry waits for it. */
  readonly notBefore?: number;
  /** Handed to somebody else (a callback, a child run) who completes it by a message; at `until` it has timed out. */
  readonly waiting?: { readonly until?: number };
  /** Failures of this visit by retry rule: the error's class when the rule has one of its own for it, else empty. */
  readonly failures?: Readonly<Record<string, number>>;
  /** `map`: its items and results lie outside the record (`Journal.getItems`, `getResults`, `getCounts`). */
  readonly map?: { readonly items: number };
  /** Undoes a completed effect: the function is called with `{input, output}` of that one. */
  readonly compensates?: { readonly token: string; readonly output: Payload };
  /** Something that the engine owes other runs; `actor` and `child` are empty. */
  readonly duty?: Duty;
}
export type Duty =
  | { readonly kind: "tell-parent"; readonly outcome: Outcome }
  /** Of the child runs of an effect, or of each item of a map: their ids follow from the token and the attempt (`childRunKey`). */
  | {
      readonly kind: "cancel-children";
      readonly of: string;
      readonly items?: number;
      /** How many there may have been of each. */
      readonly attempts?: number;
      readonly reason: string;
    };

export interface Timer {
  readonly token: string;
  /** XState's id of the delayed event. */
  readonly id: string;
  readonly event: MachineEvent;
  readonly dueAt: number;
}

/** What reaches a run from outside its worker; lies in its inbox until a transition takes it. */
export type Message =
  | { readonly kind: "event"; readonly id: string; readonly event: MachineEvent; readonly buffered: boolean }
  /** `attempt`: the one that this is of; absent: the present one. */
  | {
      readonly kind: "completed";
      readonly token: string;
      readonly attempt?: number;
      readonly outcome: Outcome;
    }
  | { readonly kind: "heartbeat"; readonly token: string; readonly attempt?: number; readonly details?: Json }
  | { readonly kind: "timer"; readonly token: string }
  | { readonly kind: "cancel"; readonly reason: string }
  | { readonly kind: "terminate"; readonly reason: string }
  | { readonly kind: "deadline" };

export type Outcome =
  | { readonly kind: "done"; readonly output: Payload }
  | { readonly kind: "failed"; readonly error: ErrorFacts; readonly cause?: Json };

/** A line of a run's history: what `runs history` shows. */
export interface HistoryEntry {
  readonly seq: number;
  readonly at: number;
  readonly type:
    | "started"
    | "transition"
    | "effect-scheduled"
    | "attempt-failed"
    | "effect-completed"
    | "effect-failed"
    | "effect-cancelled"
    | "event"
    | "event-dropped"
    | "timer-set"
    | "timer-fired"
    | "timer-cancelled"
    | "emitted"
    | "logged"
    | "compensated"
    | "resumed"
    | "finished";
  readonly transition: number;
  readonly state?: string;
  readonly token?: string;
  readonly actor?: string;
  readonly attempt?: number;
  readonly event?: string;
  readonly payload?: Payload;
  readonly error?: ErrorFacts;
  readonly note?: string;
}
