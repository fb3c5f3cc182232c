import type { Json } from "../core/json.ts";
import type { Effect, Message, Outcome, Payload, RunFacts, RunKey } from "../core/run-record.ts";
import type { ActorFacts, Definition } from "../definition/definition.ts";
import type { Delivered, Journal, Lease } from "../journal/journal.ts";
import type { ItemArrivals } from "./item-arrivals.ts";

/** What a worker needs of the world. */
export interface WorkerPorts {
  readonly journal: Journal;
  readonly definitions: Definitions;
  readonly performer: EffectPerformer;
  readonly payloads: Payloads;
  readonly clock: WorkerClock;
  /** Puts a message into a run's inbox and sees to it that somebody takes it: for parents and children. */
  readonly deliver: (key: RunKey, message: Message) => Promise<Delivered>;
  /** The run is out of hand until `dueAt` (the store's clock), or until something comes in. */
  readonly onParked: (key: RunKey, dueAt: number | undefined) => void;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
  /** A fault that nobody answers for: the run is left to the next worker, or tried again. */
  readonly onFault: (key: RunKey, what: string, error: unknown) => void;
}

export interface Definitions {
  /** Rejects with `DefinitionError`: `definition_unavailable` is tried again, any other fails the run. */
  get(facts: RunFacts): Promise<Definition>;
}

/** Payloads too large to lie in a record. */
export interface Payloads {
  /** Values of more JSON text than this, in bytes, are stored outside. */
  readonly inlineBytes: number;
  /** Kept as long as the run. Rejects with `PlatformError` `payload_too_large` beyond the cap. */
  store(run: RunKey, json: string): Promise<Payload>;
  load(ref: string): Promise<Json>;
}

/** The store's clock: `now` is never behind it, `passed` never ahead of it. Limits are set by the one and due by the other, so that none is early. */
export interface WorkerClock {
  now(): number;
  passed(): number;
  /** Calls back once after `delayMs` or later; earlier is allowed for delays of more than a minute. Gives what takes it back. */
  after(delayMs: number, call: () => void): () => void;
}

export interface EffectPerformer {
  /**
   * One attempt of an effect that is not a duty. Aborted: the answer is not wanted any more. A rejection is a fault of the platform: the attempt is made again
   * after a pause and is not counted.
   */
  perform(call: EffectCall, signal: AbortSignal): Promise<Performed>;
}

export interface EffectCall {
  readonly facts: RunFacts;
  readonly effect: Effect;
  readonly actor: ActorFacts;
  /** For `Journal.putResult` of a map's items. */
  readonly lease: Lease;
  /** By the store's clock: when the attempt is given up. */
  readonly endsAt: number | undefined;
  /** Of a map: for which items something has come. */
  readonly arrivals: ItemArrivals;
}

export type Performed =
  | Outcome
  /** Somebody else completes it by a `completed` message. */
  | { readonly kind: "waiting" }
  /** Overload: to be tried again, no attempt is used up. */
  | { readonly kind: "later"; readonly afterMs: number; readonly reason: string };
