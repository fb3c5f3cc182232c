import type { HistoryEntry, Message, RunKey, RunRecord, RunStatus } from "../core/run-record.ts";

/**
 * The truth about runs. Every method is one atomic operation of the store; times are the store's clock. Implementations: Redis (Lua), memory (tests). One
 * suite runs against all of them (`test/workflows/journal-suite.ts`).
 *
 * Invariants:
 * 1. A commit takes place as a whole or not at all: record, history, timers, index, inbox marks.
 * 2. A commit names the version that it was made from and the epoch of the lease that it was made under; another of either is a conflict and changes nothing.
 * 3. A run that has something to do (message in the inbox, effect to start, timer due, lease lost with open effects) is found by `due`: under a lease at the
 *    lease's end, else at once with messages in the inbox, else at `nextDueAt(record)`.
 * 4. What has ended stays as it ended.
 */
export interface Journal {
  /** Stores a new run (`newRun` in core), which is due at once: a worker makes the first transition. `created: false` changes nothing and gives what is there, so that starting is idempotent by id. */
  create(record: RunRecord, history: readonly NewEntry[]): Promise<{ created: boolean; record: RunRecord }>;
  load(key: RunKey): Promise<RunRecord | undefined>;
  /** Takes a run that is due for `leaseMs` with a new epoch, unless somebody else has it; gives the record and what waits in the inbox. */
  claim(key: RunKey, worker: string, leaseMs: number): Promise<Claim | ClaimRefused>;
  /** Prolongs leases; gives the keys of those that are lost, and of those with messages in the inbox. */
  renew(
    claims: readonly Lease[],
    leaseMs: number,
  ): Promise<{ lost: readonly RunKey[]; waiting: readonly RunKey[] }>;
  /** Gives a lease back; the run stays due if it has something to do. */
  release(lease: Lease): Promise<void>;
  commit(lease: Lease, commit: Commit): Promise<Committed>;
  /** Takes a run up again that has ended: the one way out of invariant 4. `conflict`: its version is another, or it has not ended. */
  reopen(
    expectedVersion: number,
    record: RunRecord,
    history: readonly NewEntry[],
  ): Promise<"reopened" | "conflict">;
  /** The inbox, in order of arrival. A message stays until a commit takes it. */
  inbox(lease: Lease): Promise<readonly StoredMessage[]>;
  /**
   * Puts a message into the inbox. `duplicate`: a message of that id was there before (events by id, completions and timers by token, for as long as the run is kept;
   * cancel, terminate and deadline while one lies in the inbox; heartbeats never);
   * `stale`: its token is no longer open (an item's token `<effect>.<index>` is open as long as the effect's); `refused`: an event that is not
   * accepted now (`accepts`) and not buffered.
   * `owner`: the worker that has the run now, to be nudged.
   */
  deliver(key: RunKey, message: Message): Promise<Delivered>;
  /** Up to `limit` runs of a partition that have something to do now, and when the next one will have: ms by the store's clock. */
  due(partition: number, limit: number): Promise<{ runs: readonly RunKey[]; nextAt: number | undefined }>;
  now(): Promise<number>;

  history(key: RunKey, from: number, limit: number): Promise<readonly HistoryEntry[]>;
  /** Newest first. */
  list(filter: RunFilter): Promise<{ runs: readonly RunSummary[]; next: string | undefined }>;
  /** Of all runs that have ended and are still kept, whatever has become of their Workflows. */
  endedNamespaces(): Promise<readonly string[]>;
  /** Items and results of a map, outside the record: flat memory for 10,000 of them. Items are put before the commit that opens the effect. */
  putItems(
    lease: Lease,
    token: string,
    from: number,
    items: readonly string[],
  ): Promise<"stored" | "conflict">;
  getItems(key: RunKey, token: string, from: number, count: number): Promise<readonly (string | undefined)[]>;
  /** Accepts the first result of an item and counts it; a later one is `duplicate`. */
  putResult(
    lease: Lease,
    token: string,
    index: number,
    result: string,
    failed: boolean,
  ): Promise<"stored" | "duplicate" | "conflict">;
  getResults(
    key: RunKey,
    token: string,
    from: number,
    count: number,
  ): Promise<readonly (string | undefined)[]>;
  /**
   * Notes beside an item that has no result yet, so that its attempts and what it waits for outlive their worker: its state, the outcome that came for it, when it last
   * gave a sign of life. They go when its result is put.
   */
  putItemNote(
    lease: Lease,
    token: string,
    index: number,
    note: ItemNote,
    text: string,
  ): Promise<"stored" | "conflict">;
  getItemNotes(
    key: RunKey,
    token: string,
    from: number,
    count: number,
  ): Promise<readonly Partial<Record<ItemNote, string>>[]>;
  /** How many items have a result, and how many of these are failures. */
  getCounts(key: RunKey, token: string): Promise<{ done: number; failed: number }>;
  /** Removes a finished run whole. `false`: it has not ended. */
  remove(key: RunKey): Promise<boolean>;
}

export const ITEM_NOTES = ["state", "outcome", "beat"] as const;
export type ItemNote = (typeof ITEM_NOTES)[number];
export type NewEntry = Omit<HistoryEntry, "seq" | "at">;
export interface Lease {
  readonly key: RunKey;
  readonly worker: string;
  readonly epoch: number;
}
export interface StoredMessage {
  /** Position in the inbox: what a commit names to have it removed. */
  readonly position: string;
  readonly message: Message;
}
export interface Claim {
  readonly kind: "claimed";
  readonly lease: Lease;
  readonly record: RunRecord;
  readonly inbox: readonly StoredMessage[];
}
export interface ClaimRefused {
  /** `idle`: it has nothing to do now; somebody else was faster. */
  readonly kind: "held" | "finished" | "unknown" | "newer-format" | "idle";
  readonly owner?: string;
}
/** The next state of a run: a whole record (its `version` is the expected one + 1; times are set by the store) and what came of it. */
export interface Commit {
  readonly expectedVersion: number;
  readonly record: RunRecord;
  readonly history: readonly NewEntry[];
  /** Messages that it took. */
  readonly taken: readonly string[];
  /** Give the lease back with it, unless messages wait in the inbox after it. */
  readonly release: boolean;
  /** Map effects that it closes: their items and results are removed. */
  readonly closedMaps: readonly string[];
}
export type Committed =
  | {
      readonly kind: "committed";
      /** The store's time of it. */
      readonly at: number;
      /** Messages lie in the inbox that it did not take: the lease is kept, whatever `release` said. */
      readonly waiting: boolean;
    }
  | { readonly kind: "conflict" };
export type Delivered =
  | { readonly kind: "accepted"; readonly owner?: string }
  | { readonly kind: "duplicate" | "stale" | "refused" | "finished" | "unknown" };
export interface RunFilter {
  readonly namespace: string;
  readonly workflow?: string;
  readonly status?: RunStatus;
  readonly startedAfter?: number;
  readonly startedBefore?: number;
  readonly limit: number;
  /** As given by the page before. */
  readonly after?: string;
}
export interface RunSummary {
  readonly key: RunKey;
  readonly workflow: string;
  readonly status: RunStatus;
  readonly states: readonly string[];
  readonly startedAt: number;
  readonly finishedAt?: number;
}

export const PARTITIONS = 256;
