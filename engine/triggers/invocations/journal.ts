import type { Failure, Target, TriggerEvent } from "../delivery/event.ts";
import type { InvocationPolicy } from "./accept.ts";

/*
 * Asynchronous invocations in Redis: what is accepted is here until its retention is over, whoever is killed. Invariants:
 * 1. Every change is one script of one partition (`{ev:<00..ff>}`); all that belongs to a function lies in one. Times are the store's.
 * 2. An invocation is in one of its function's sets: `due` (status queued, by the time it may be tried), `run` (running, by the end of its lease), or
 *    none (ended). Who claims it owns it until its lease ends; each claim is a new try, and only the owner of the latest try settles.
 * 3. `ready` has, for each function of which something can be claimed, the time from which on: its first due one or the first end of a lease.
 * 4. What ended has a time at which it goes (`ended`). With a destination that is to be told, it is in `outbox` until it was told.
 * 5. Within the retention, one dedup key of a function is one invocation.
 * 6. Of each version of a function it is known how many invocations wait for it or run (`pins`).
 */

export const INVOCATION_STATUSES = ["queued", "running", "succeeded", "dead", "cancelled"] as const;
export type InvocationStatus = (typeof INVOCATION_STATUSES)[number];

/** Where something of an ended invocation goes, as its function's `spec.invocation` had it when it was accepted. */
export interface InvocationDestination {
  readonly function?: Target | undefined;
  readonly topic?: TopicDestination | undefined;
}

export interface TopicDestination {
  readonly messageQueueType: string;
  readonly topic: string;
  /** Settings of its source, and the Secret with the credentials, of the same namespace. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly secret?: string | undefined;
  /** It gets the answer itself, as one to this message, and not a report of what happened. */
  readonly inReplyTo?:
    | { readonly key?: string | undefined; readonly headers: Readonly<Record<string, string>> }
    | undefined;
}

/** What never changes of an invocation. */
export interface InvocationFacts {
  readonly id: string;
  readonly namespace: string;
  /** The one it is delivered to, version included where one was pinned. */
  readonly target: Target;
  /** The version was pinned at acceptance and is not what somebody asked for: if it is gone, the function itself will do. */
  readonly pinned: boolean;
  readonly source: string;
  readonly event: Omit<TriggerEvent, "body">;
  readonly payloadBytes: number;
  readonly depth: number;
  readonly policy: InvocationPolicy;
  readonly onSuccess?: InvocationDestination | undefined;
  readonly onFailure?: InvocationDestination | undefined;
}

export interface InvocationResult {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Where the body is, or why it was not kept, when it is not in the record: it is empty there then. */
  readonly elsewhere?: {
    readonly bytes: number;
    readonly spill?: string | undefined;
    readonly lost?: string | undefined;
  };
}

/** What came of telling a destination. */
export interface DestinationReport {
  readonly at: number;
  /** `function/<name>`, `topic/<name>`, `workflow/<name>` */
  readonly to: string;
  /** Of the invocation that tells a function. */
  readonly invocationId?: string | undefined;
  readonly error?: string | undefined;
}

export interface Invocation extends InvocationFacts {
  readonly queue: string;
  readonly status: InvocationStatus;
  readonly acceptedAt: number;
  /** Its age counts from here: acceptance, or the last redrive. */
  readonly ageFrom: number;
  readonly dueAt: number;
  readonly startedAt?: number | undefined;
  readonly endedAt?: number | undefined;
  /** Deliveries that were begun. */
  readonly tries: number;
  /** Deliveries that failed: attempts used up. */
  readonly failures: number;
  /** Deliveries whose worker was gone before their end. */
  readonly lost: number;
  readonly redrives: number;
  readonly failure?: (Failure & { readonly at: number }) | undefined;
  readonly result?: InvocationResult | undefined;
  readonly destination?: DestinationReport | undefined;
  /** Where the body is, when it is not in the record. */
  readonly spill?: string | undefined;
  /** Undefined: spilled, or not kept any more. */
  readonly body?: Uint8Array | undefined;
}

export type Settlement =
  | { readonly kind: "done"; readonly result: InvocationResult }
  /** `counts`: an attempt is used up. */
  | { readonly kind: "again"; readonly delayMs: number; readonly counts: boolean; readonly failure: Failure }
  | { readonly kind: "dead"; readonly failure: Failure }
  | { readonly kind: "cancelled" };

export interface NewInvocation {
  readonly facts: InvocationFacts;
  readonly body: Uint8Array;
  /** Where the body is instead. */
  readonly spill?: string | undefined;
  readonly dedupKey?: string | undefined;
  readonly delayMs: number;
}

export interface Claimed {
  readonly taken: readonly Invocation[];
  /** When something can be claimed again; undefined = not before somebody adds something. */
  readonly nextAt: number | undefined;
  readonly now: number;
}

export interface Lease {
  readonly queue: string;
  readonly id: string;
  readonly try: number;
}

export interface InvocationQuery {
  readonly namespace?: string | undefined;
  readonly queue?: string | undefined;
  readonly status?: InvocationStatus | undefined;
  readonly source?: string | undefined;
  readonly limit: number;
  /** Of the page before. */
  readonly continue?: string | undefined;
}

export interface InvocationPage {
  readonly items: readonly Invocation[];
  /** There may be more: what the query for them says. */
  readonly continue?: string;
}

export interface QueueDepth {
  readonly queue: string;
  readonly waiting: number;
  readonly running: number;
  readonly dead: number;
  /** For how long the first of those that wait has been due; 0 = none is. */
  readonly oldestDueMs: number;
}

export interface InvocationJournal {
  /** @throws {PlatformError} redis_unavailable, queue_full */
  accept(invocation: NewInvocation): Promise<{ readonly id: string; readonly duplicate: boolean }>;
  /** Keeps a dead letter of an event that was tried elsewhere, `attempts` times. */
  bury(
    invocation: NewInvocation,
    failure: Failure,
    attempts: number,
  ): Promise<{ readonly id: string; readonly duplicate: boolean }>;
  claim(queue: string, limit: number, count: number, worker: string): Promise<Claimed>;
  renew(worker: string, leases: readonly Lease[]): Promise<readonly ("held" | "cancel" | "lost")[]>;
  /** Undefined: it is not this worker's any more, and nothing changed. */
  settle(
    worker: string,
    lease: Lease,
    settlement: Settlement,
    tell: boolean,
  ): Promise<{ readonly now: number; readonly nextAt: number | undefined } | undefined>;
  /** Status that it has after it; undefined = unknown. */
  cancel(id: string): Promise<InvocationStatus | undefined>;
  get(id: string): Promise<Invocation | undefined>;
  /** Newest first, without bodies. */
  list(query: InvocationQuery): Promise<InvocationPage>;
  count(
    queue: string,
  ): Promise<{ readonly waiting: number; readonly running: number; readonly dead: number }>;
  /** Of every queue that has something. */
  depths(): Promise<readonly QueueDepth[]>;
  /** Versions that something waits for or runs: `namespace/version`. */
  pinned(): Promise<ReadonlySet<string>>;
  /** Where the bodies of those are that are not in their records, by id. */
  spilled(ids: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /**
   * @param bodies where those are from now on, by id, that are not in their records
   * @returns how many wait again, and the spills that nothing names now
   */
  redrive(
    ids: readonly string[],
    bodies?: ReadonlyMap<string, string>,
  ): Promise<{ readonly count: number; readonly spills: readonly string[] }>;
  /** @returns how many are gone, and what they have spilled */
  purge(ids: readonly string[]): Promise<{ readonly count: number; readonly spills: readonly string[] }>;
  /** Removes some of what ended long ago in a partition. */
  clean(
    partition: number,
    limit: number,
  ): Promise<{ readonly count: number; readonly spills: readonly string[] }>;
  /** Queues from which something can be claimed now or within `aheadMs`, with the time. */
  ready(aheadMs: number): Promise<readonly { readonly queue: string; readonly inMs: number }[]>;
  /** Those that ended more than `olderMs` ago and whose destination was not told, but for those that were put off. */
  untold(olderMs: number): Promise<readonly string[]>;
  /** Its destination could not be told: `untold` gives it again after `inMs` and `olderMs`. */
  putOff(id: string, inMs: number, report?: DestinationReport): Promise<void>;
  told(id: string, report: DestinationReport): Promise<void>;
  /** Its spilled body was removed. */
  unspilled(id: string): Promise<void>;
}
