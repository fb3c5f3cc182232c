/**
 * Invariants:
 * 1. Memory holds every current object; the disk follows within the same event-loop turn.
 * 2. resourceVersions rise by one per change over all resources and are never used twice, also after a crash:
 *    a change becomes visible to others only with its commit.
 * 3. Watchers see events in resourceVersion order, each after its commit, none twice, none left out.
 * 4. An event knows the state before it, so that a filtered watch can tell "left the selection" from "never in it".
 */
import { expired } from "../api/api-error.ts";
import { Database } from "./database.ts";
import type { KubeObject } from "./kube-object.ts";
import type { WatchEventType } from "./store.ts";

/** One version of one object: its JSON text as stored and, parsed on demand, the object. */
export class StoredObject {
  readonly key: string;
  readonly rv: number;
  readonly text: string;
  #object: KubeObject | undefined;

  constructor(key: string, rv: number, text: string, object?: KubeObject) {
    this.key = key;
    this.rv = rv;
    this.text = text;
    this.#object = object;
  }

  get object(): KubeObject {
    const object: KubeObject = this.#object ?? JSON.parse(this.text);
    this.#object = object;
    return object;
  }

  /** Keeps the text only: for versions that are history. */
  releaseParsed(): void {
    this.#object = undefined;
  }
}

export interface TableEvent {
  rv: number;
  type: WatchEventType;
  resource: string;
  current: StoredObject;
  previous: StoredObject | undefined;
}

type Listener = (event: TableEvent) => void;

const HISTORY_EVENTS = 10_000;
const HISTORY_CHARS = 12_000_000;

interface ResourceTable {
  objects: Map<string, StoredObject>;
  /** Keys in order; undefined after an insert or delete until the next list. */
  sorted: string[] | undefined;
  listeners: Set<Listener>;
}

/** `namespace/name` within one resource; cluster-scoped objects have an empty namespace. */
export const objectKey = (namespace: string | undefined, name: string): string =>
  `${namespace ?? ""}/${name}`;

export class ObjectTable {
  readonly #database: Database;
  readonly #tables = new Map<string, ResourceTable>();
  readonly #byUid = new Map<string, { resource: string; key: string }>();
  readonly #observers = new Set<Listener>();
  #history: TableEvent[] = [];
  #historyChars = 0;
  #oldestRv: number;
  #rv: number;

  constructor(file: string, onFatal: (error: unknown) => void) {
    this.#database = new Database(file, onFatal);
    this.#rv = Number(this.#database.readMeta("resourceVersion") ?? firstVersion());
    this.#oldestRv = this.#rv;
    for (const row of this.#database.readObjects()) {
      const key = row.key.slice(row.resource.length + 1);
      const object: KubeObject = JSON.parse(row.body);
      const stored = new StoredObject(key, Number(object.metadata.resourceVersion), row.body, object);
      this.#table(row.resource).objects.set(key, stored);
      this.#byUid.set(object.metadata.uid, { resource: row.resource, key });
    }
    this.#loadHistory();
  }

  #loadHistory(): void {
    const last = new Map<string, StoredObject>();
    const rows = this.#database.readHistory();
    const first = rows[0];
    if (first) this.#oldestRv = first.rv - 1;
    for (const row of rows) {
      const key = row.key.slice(row.resource.length + 1);
      const current = new StoredObject(key, row.rv, row.body);
      this.#remember({
        rv: row.rv,
        type: row.type,
        resource: row.resource,
        current,
        previous: last.get(row.key),
      });
      last.set(row.key, current);
    }
  }

  #table(resource: string): ResourceTable {
    let table = this.#tables.get(resource);
    if (!table) {
      table = { objects: new Map(), sorted: undefined, listeners: new Set() };
      this.#tables.set(resource, table);
    }
    return table;
  }

  /** The version of the newest change, committed or about to be. */
  get resourceVersion(): number {
    return this.#rv;
  }

  /** The version that a change made now would get. */
  get nextResourceVersion(): number {
    return this.#rv + 1;
  }

  get(resource: string, key: string): StoredObject | undefined {
    return this.#tables.get(resource)?.objects.get(key);
  }

  byUid(uid: string): { resource: string; stored: StoredObject } | undefined {
    const place = this.#byUid.get(uid);
    const stored = place && this.get(place.resource, place.key);
    return place && stored ? { resource: place.resource, stored } : undefined;
  }

  resources(): string[] {
    return [...this.#tables.keys()];
  }

  count(resource: string): number {
    return this.#tables.get(resource)?.objects.size ?? 0;
  }

  /** In order of namespace and name; `namespace` undefined lists all. */
  *list(resource: string, namespace?: string, after?: string): Generator<StoredObject> {
    const table = this.#tables.get(resource);
    if (!table) return;
    table.sorted ??= [...table.objects.keys()].sort();
    const { sorted } = table;
    const prefix = namespace === undefined ? "" : `${namespace}/`;
    for (
      let index = firstAtOrAfter(sorted, after === undefined ? prefix : after, after !== undefined);
      ;
      index++
    ) {
      const key = sorted[index];
      if (key === undefined || !key.startsWith(prefix)) return;
      const stored = table.objects.get(key);
      if (stored) yield stored;
    }
  }

  /**
   * Records a change. `object.metadata.resourceVersion` must be `nextResourceVersion`. Visible in this process at
   * once; the promise settles when it is on disk.
   */
  write(type: WatchEventType, resource: string, object: KubeObject): Promise<void> {
    const rv = this.nextResourceVersion;
    if (object.metadata.resourceVersion !== String(rv)) {
      throw new Error(
        `Cannot record a change: version must be ${rv}, got ${object.metadata.resourceVersion}`,
      );
    }
    this.#rv = rv;
    const key = objectKey(object.metadata.namespace, object.metadata.name);
    const table = this.#table(resource);
    const previous = table.objects.get(key);
    const text = JSON.stringify(object);
    const current = new StoredObject(key, rv, text, object);
    if (type === "DELETED") {
      table.objects.delete(key);
      this.#byUid.delete(object.metadata.uid);
    } else {
      table.objects.set(key, current);
      if (!previous) this.#byUid.set(object.metadata.uid, { resource, key });
    }
    if (type !== "MODIFIED") table.sorted = undefined;
    const event: TableEvent = { rv, type, resource, current, previous };
    return this.#database.append({
      rv,
      type,
      resource,
      key: `${resource}\n${key}`,
      body: text,
      afterCommit: () => this.#publish(event),
    });
  }

  /** Resolves when everything written so far is on disk; undefined when it is. */
  pending(): Promise<void> | undefined {
    return this.#database.pending();
  }

  #publish(event: TableEvent): void {
    this.#remember(event);
    for (const listener of this.#observers) listener(event);
    for (const listener of this.#table(event.resource).listeners) listener(event);
    event.previous?.releaseParsed();
    if (event.type === "DELETED") event.current.releaseParsed();
  }

  #remember(event: TableEvent): void {
    this.#history.push(event);
    this.#historyChars += event.current.text.length;
    if (this.#history.length > HISTORY_EVENTS || this.#historyChars > HISTORY_CHARS) this.#forget();
  }

  /** Drops the older fifth in one go, so that the cost per event stays constant. */
  #forget(): void {
    const dropped = this.#history.splice(0, Math.ceil(this.#history.length / 5));
    for (const event of dropped) this.#historyChars -= event.current.text.length;
    this.#oldestRv = dropped.at(-1)?.rv ?? this.#oldestRv;
  }

  /**
   * Events after `fromRv`: first those remembered, synchronously, then live ones. Throws 410 Expired for a
   * version older than history or newer than the newest.
   */
  watch(resource: string, fromRv: number, listener: Listener): () => void {
    this.assertServable(fromRv);
    const live: Listener = (event) => {
      if (event.rv > fromRv) listener(event);
    };
    if (fromRv < this.#rv) {
      for (let index = firstAfter(this.#history, fromRv); index < this.#history.length; index++) {
        const event = this.#history[index];
        if (event?.resource === resource) listener(event);
      }
    }
    const { listeners } = this.#table(resource);
    listeners.add(live);
    return () => listeners.delete(live);
  }

  /** Every event of every resource from now on, before the watchers see it. */
  observe(listener: Listener): () => void {
    this.#observers.add(listener);
    return () => this.#observers.delete(listener);
  }

  /** Throws 410 unless a watch could go on from `rv`. */
  assertServable(rv: number): void {
    if (rv < this.#oldestRv) throw expired(`too old resource version: ${rv} (${this.#oldestRv})`);
    if (rv > this.#rv) throw expired(`too large resource version: ${rv}, current: ${this.#rv}`);
  }

  close(): void {
    this.#database.close();
  }
}

/**
 * A fresh database starts above every version that a wiped one is likely to have handed out, so that a client's
 * old version is refused rather than resumed from by accident.
 */
const firstVersion = (): number => Math.max(1, Math.floor((Date.now() - Date.UTC(2025, 0, 1)) / 1000));

function firstAtOrAfter(sorted: readonly string[], key: string, exclusive: boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const candidate = sorted[middle] ?? "";
    if (candidate < key || (exclusive && candidate === key)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function firstAfter(history: readonly TableEvent[], rv: number): number {
  let low = 0;
  let high = history.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((history[middle]?.rv ?? 0) <= rv) low = middle + 1;
    else high = middle;
  }
  return low;
}
