/**
 * Invariants:
 * 1. One transaction per event-loop turn: what is appended in a turn is on disk, or nothing of it is.
 * 2. `flushed` of a batch settles only after COMMIT returned with synchronous=FULL.
 * 3. A failed COMMIT is final: memory would be ahead of the disk, so the owner must stop the process.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
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

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA wal_autocheckpoint = 2000;
  PRAGMA cache_size = -4000;
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS objects (
    key TEXT PRIMARY KEY, resource TEXT NOT NULL, body TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS history (
    rv INTEGER PRIMARY KEY, type TEXT NOT NULL, resource TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL
  );
`;

/** The durable side of the store: a journal of changes with group commit. */
export class Database {
  readonly #db: DatabaseSync;
  readonly #statements: Statements;
  readonly #onFatal: (error: unknown) => void;
  #batch: Change[] = [];
  #flushed: PromiseWithResolvers<void> | undefined;
  #sinceTrim = 0;

  constructor(file: string, onFatal: (error: unknown) => void) {
    this.#db = new DatabaseSync(file);
    this.#db.exec(SCHEMA);
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

  writeMeta(name: string, value: string): void {
    this.#statements.meta.run(name, value);
  }

  /** Adds a change to the batch of this turn; resolves when it is on disk. */
  append(change: Change): Promise<void> {
    this.#batch.push(change);
    if (!this.#flushed) {
      this.#flushed = Promise.withResolvers<void>();
      setImmediate(() => this.flush());
    }
    return this.#flushed.promise;
  }

  /** Resolves once everything appended so far is on disk; undefined when it is already. */
  pending(): Promise<void> | undefined {
    return this.#flushed?.promise;
  }

  /** Commits the batch now. */
  flush(): void {
    const batch = this.#batch;
    const flushed = this.#flushed;
    if (!flushed) return;
    this.#batch = [];
    this.#flushed = undefined;
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      for (const change of batch) this.#write(change);
      const last = batch.at(-1)?.rv ?? 0;
      this.#statements.meta.run("resourceVersion", String(last));
      this.#sinceTrim += batch.length;
      if (this.#sinceTrim >= 1_000) {
        this.#sinceTrim = 0;
        this.#statements.trim.run(last - HISTORY_KEPT);
      }
      this.#db.exec("COMMIT");
    } catch (error) {
      flushed.promise.catch(() => undefined);
      flushed.reject(error);
      this.#onFatal(error);
      return;
    }
    flushed.resolve();
    for (const change of batch) change.afterCommit();
  }

  #write(change: Change): void {
    if (change.type === "DELETED") this.#statements.remove.run(change.key);
    else this.#statements.put.run(change.key, change.resource, change.body);
    this.#statements.history.run(change.rv, change.type, change.resource, change.key, change.body);
  }

  close(): void {
    this.flush();
    this.#db.close();
  }
}
