import type { FunctionReference } from "../../../api/kinds/references.ts";

/** One thing that happened and that a function (or a workflow) is to be told of: what every trigger makes, and what is sent to the router. */
export interface TriggerEvent {
  /** Of the occurrence: the same on each delivery of it, made from its source (`<trigger>/<time>`, `<topic>/<partition>/<offset>` …). */
  readonly id: string;
  readonly namespace: string;
  readonly method: string;
  /** Below the function: path and query, with a leading `/`. */
  readonly path: string;
  /** What the function gets beside what the platform adds. Names are lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Where an event goes: as written in the trigger, resolved when it is delivered unless a version was pinned at acceptance. */
export type Target = Pick<FunctionReference, "type" | "name" | "alias" | "version" | "functionweights">;

/** What one delivery came to. */
export type Outcome =
  | {
      readonly kind: "done";
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: Uint8Array;
    }
  /** 408, 429, 5xx, or nobody answered: may go well later. `afterMs`: what `Retry-After` asked for. */
  | { readonly kind: "failed"; readonly failure: Failure; readonly afterMs?: number }
  /** Any other 4xx: sending it again would change nothing. */
  | { readonly kind: "rejected"; readonly failure: Failure }
  /** Nothing of it ran, since the platform could not take it now: no attempt is used up. */
  | { readonly kind: "overloaded"; readonly failure: Failure; readonly afterMs: number };

/** Why a delivery did not go well, for people and dead-letter queues. */
export interface Failure {
  /** 0 = no answer. */
  readonly status: number;
  /** Code of the platform's error, or `function_error`. */
  readonly reason: string;
  /** At most 1,024 characters of what the function or the platform said. */
  readonly message: string;
}

export interface DeliverOptions {
  /** From 1. */
  readonly attempt: number;
  readonly timeoutMs: number;
  /** The function is to run, whatever it answered before to this event: somebody asked for it anew. */
  readonly anew?: boolean;
  /** Ends the call; the function's `request.signal` aborts. The promise rejects with its reason. */
  readonly signal: AbortSignal;
}

/**
 * Sends an event to its target by the router's internal listener, or starts a run of a workflow. Adds `Idempotency-Key` (of namespace, target and event id,
 * the same for every attempt), `X-Isotope-Attempt`, the CloudEvents headers. An answer that was recorded a moment ago is not requested again. The answer's body is read whole, up to a bound.
 */
export type Deliver = (target: Target, event: TriggerEvent, options: DeliverOptions) => Promise<Outcome>;
