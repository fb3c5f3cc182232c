import type { Failure, Target, TriggerEvent } from "../delivery/event.ts";
import type { InvocationDestination } from "./journal.ts";

/** An event that is to be delivered durably: from the router (async calls), timers, watches, destinations. */
export interface Acceptance {
  /** Its id makes repeated acceptances from the same source one; "" = it gets the invocation's. */
  readonly event: TriggerEvent;
  readonly target: Target;
  /** Its version is what a choice came to, not what somebody asked for: when it is gone, the function will do. */
  readonly pinned?: boolean;
  /** Who made it: `http`, `timer/<name>`, `watch/<name>`, `destination/<invocation id>`, `redrive`. */
  readonly source: string;
  /** Same key and function within the time that invocations are remembered → the first one's id, nothing is queued. */
  readonly dedupKey?: string;
  /** Not before this time, by the store's clock. */
  readonly delayMs?: number;
  /** Hops of destinations so far. */
  readonly depth?: number;
  /** Who gets the answer, instead of the function's own `spec.invocation.onSuccess`. */
  readonly onSuccess?: InvocationDestination;
  /** Overrides of the function's own policy (`spec.invocation`). */
  readonly policy?: Partial<InvocationPolicy>;
}

/** How an invocation is tried. Durations in milliseconds. */
export interface InvocationPolicy {
  readonly maxAttempts: number;
  readonly backoffBaseMs: number;
  readonly backoffCapMs: number;
  readonly jitter: boolean;
  readonly maxAgeMs: number;
}

export interface Accepted {
  readonly id: string;
  /** It was there already. */
  readonly duplicate: boolean;
}

/** Resolves once the invocation is durable. Throws `PlatformError`: `redis_unavailable`, `body_too_large` … */
export type AcceptInvocation = (acceptance: Acceptance) => Promise<Accepted>;

/** Keeps an event as a dead letter that was tried elsewhere, with why and how often: it is listed, shown and redriven like every other. */
export type BuryInvocation = (
  acceptance: Acceptance,
  failure: Failure,
  attempts: number,
) => Promise<Accepted>;
