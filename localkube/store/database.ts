/**
 * Invariants:
 * 1. One transaction per batch: what is appended in one event-loop turn is on disk whole, or nothing of it is.
 * 2. A batch is settled only after its COMMIT and a later fdatasync of the write-ahead log, so it survives a power failure too.
 *    The disk is waited for outside the event loop; what is appended meanwhile is the next batch.
 * 3. Batches settle in the order of their changes; one is written at a time.
 * 4. A failed COMMIT or fdatasync is final: memory would be ahead of the disk, so the owner must stop the process.
 */
import { closeSync, fdatasync, fdatasyncSync, openSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { CHECKPOINT_BYTES, Checkpoints } from "./checkpoints.ts";
import type { WatchEventType } from "./store.ts";

export interface StoredRow {
  key: string;
  resource: string;
  body: string;
}

export interface HistoryRow {
  rv: number;
  type: WatchEventType;
  resource: string;
  key: string;
  body: string;
}

export interface Change extends HistoryRow {
  /** Run after the commit, in order. */
  afterCommit: () => void;
}

/** How many events are kept on disk for watches that resume after a restart. */
const HISTORY_KEPT = 10_000;

interface Statements {
  put: StatementSync;
  remove: StatementSync;
  history: StatementSync;
  trim: StatementSync;
  meta: StatementSync;
}

/** Pages that a batch changes beside its bodies: index pages, the end of the history, the version. */
const BATCH_OVERHEAD_BYTES = 16 * 1024;

// COMMIT itself does not wait for the disk (NORMAL): the fdatasync that follows it does.
// The database may be locked for a moment when it is opened: by the checkpoint thread of whoever had it open before, which is on its way out.
const SCHEMA = `
  PRAGMA busy_timeout = 10000;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA wal_autocheckpoint = 0;
  PRAGMA cache_size = -2000;
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS objects (
    key TEXT PRIMARY KEY, resource TEXT NOT NULL, body TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS history (
    rv INTEGER PRIMARY KEY, type TEXT NOT NULL, resource TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL
  );
`;

interface Batch {
  readonly changes: Change[];
  readonly settled: PromiseWithResolvers<void>;
}

/** The durable side of the store: a journal of changes with group commit. */
export class Database {
  readonly #db: DatabaseSync;
  readonly #logFd: number;
  readonly #statements: Statements;
  readonly #checkpoints: Checkpoints;
  readonly #onFatal: (error: unknown) => void;
  /** Appended, not yet committed. */
  #batch: Batch | undefined;
  /** Committed; the disk is being waited for. */
  #syncing: Batch | undefined;
  #turn: NodeJS.Immediate | undefined;
  #sinceTrim = 0;
  #isClosed = false;

  /** @param onFatal Memory and disk differ for good. @param checkpointBytes About how long the write-ahead log may become. */
  constructor(file: string, onFatal: (error: unknown) => void, checkpointBytes = CHECKPOINT_BYTES) {
    this.#db = new DatabaseSync(file);
    this.#db.exec(SCHEMA);
    this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    this.#logFd = openSync(`${file}-wal`, "r+");
    this.#checkpoints = new Checkpoints(file, checkpointBytes, () => this.#schedule(), onFatal);
    this.#onFatal = onFatal;
    this.#statements = {
      put: this.#db.prepare(
        "INSERT INTO objects (key, resource, body) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body",
      ),
      remove: this.#db.prepare("DELETE FROM objects WHERE key = ?"),
      history: this.#db.prepare("INSERT INTO history (rv, type, resource, key, body) VALUES (?, ?, ?, ?, ?)"),
      trim: this.#db.prepare("DELETE FROM history WHERE rv <= ?"),
      meta: this.#db.prepare(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
      ),
    };
  }

  readObjects(): StoredRow[] {
    return this.#db
      .prepare("SELECT key, resource, body FROM objects ORDER BY key")
      .all()
      .map((row) => ({ key: String(row.key), resource: String(row.resource), body: String(row.body) }));
  }

  readHistory(): HistoryRow[] {
    return this.#db
      .prepare("SELECT rv, type, resource, key, body FROM history ORDER BY rv")
      .all()
      .map((row) => ({
        rv: Number(row.rv),
        type: row.type === "ADDED" || row.type === "DELETED" ? row.type : "MODIFIED",
        resource: String(row.resource),
        key: String(row.key),
        body: String(row.body),
      }));
  }

  readMeta(name: string): string | undefined {
    const row = this.#db.prepare("SELECT value FROM meta WHERE name = ?").get(name);
    return typeof row?.value === "string" ? row.value : undefined;
  }

  /** Adds a change to the batch of this turn; resolves when it is on disk. Rejects once the database is closed: who writes so late has outlived the store. */
  append(change: Change): Promise<void> {
    if (this.#isClosed) return Promise.reject(new Error(`Cannot write "${change.key}": the store is closed`));
    this.#batch ??= { changes: [], settled: Promise.withResolvers<void>() };
    this.#batch.changes.push(change);
    this.#schedule();
    return this.#batch.settled.promise;
  }

  /** Resolves once everything appended so far is on disk; undefined when it is already. */
  pending(): Promise<void> | undefined {
    return (this.#batch ?? this.#syncing)?.settled.promise;
  }

  #schedule(): void {
    if (!this.#batch || this.#syncing || this.#turn || this.#checkpoints.holdsWrites) return;
    this.#turn = setImmediate(() => {
      this.#turn = undefined;
      this.#flush();
    });
  }

  #flush(): void {
    const batch = this.#commit();
    if (!batch) return;
    this.#syncing = batch;
    fdatasync(this.#logFd, (error) => {
      // Closing has waited for the disk itself.
      if (this.#isClosed) return;
      this.#syncing = undefined;
      if (error) this.#fail(batch, error);
      else this.#settle(batch);
      this.#schedule();
    });
  }

  /** Writes the batch as one transaction and returns it; undefined without one, and when writing failed. */
  #commit(): Batch | undefined {
    const batch = this.#batch;
    if (!batch) return undefined;
    this.#batch = undefined;
    const { changes } = batch;
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      let bytes = BATCH_OVERHEAD_BYTES;
      for (const change of changes) {
        this.#write(change);
        bytes += 2 * change.body.length;
      }
      const last = changes.at(-1)?.rv ?? 0;
      this.#statements.meta.run("resourceVersion", String(last));
      this.#sinceTrim += changes.length;
      if (this.#sinceTrim >= 1_000) {
        this.#sinceTrim = 0;
        this.#statements.trim.run(last - HISTORY_KEPT);
      }
      this.#db.exec("COMMIT");
      this.#checkpoints.written(bytes);
      return batch;
    } catch (error) {
      this.#fail(batch, error);
      return undefined;
    }
  }

  #settle(batch: Batch): void {
    batch.settled.resolve();
    for (const change of batch.changes) change.afterCommit();
  }

  #fail({ settled }: Batch, error: unknown): void {
    settled.promise.catch(() => undefined);
    settled.reject(error);
    this.#onFatal(error);
  }

  #write(change: Change): void {
    if (change.type === "DELETED") this.#statements.remove.run(change.key);
    else this.#statements.put.run(change.key, change.resource, change.body);
    this.#statements.history.run(change.rv, change.type, change.resource, change.key, change.body);
  }

  /** Waits for the disk, in this turn, and ends. */
  close(): void {
    const syncing = this.#syncing;
    const last = this.#commit();
    this.#isClosed = true;
    clearImmediate(this.#turn);
    if (syncing ?? last) fdatasyncSync(this.#logFd);
    for (const batch of [syncing, last]) if (batch) this.#settle(batch);
    this.#checkpoints.stop();
    closeSync(this.#logFd);
    this.#db.close();
  }
}
