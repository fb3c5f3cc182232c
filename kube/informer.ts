/**
 * A local copy of one kind (or a selection of it), kept in step with the API server by `runListWatch`.
 *
 * Invariants
 * I1. A list replaces the cache by difference: handlers see exactly the adds, updates and deletes that happened meanwhile.
 * I2. Handlers see changes in the cache's order, after the cache holds them, and never after `stop`.
 * I3. A handler that throws is reported and does not disturb the informer or the other handlers.
 * I4. `synced` resolves when the first list is in the cache and handlers have seen it, or on `stop`; `hasSynced()` tells which.
 * I5. With a client that has a scope, an informer over all namespaces holds the objects of the scope's namespaces: one that comes into it
 *     brings adds, one that leaves it brings deletes.
 */
import { type KubeObject, keyOf } from "./object.ts";
import { type Change, type IndexFunctions, ObjectCache } from "./object-cache.ts";
import { type ListWatch, type ListWatchOptions, runListWatch } from "./list-watch.ts";
import { runScopedListWatch } from "./scoped-list-watch.ts";

export interface InformerHandler<T> {
  onAdd?: (object: T) => void;
  onUpdate?: (object: T, previous: T) => void;
  onDelete?: (previous: T) => void;
  /** Any of the three. */
  onChange?: (change: Change<T>) => void;
}

export interface InformerOptions<T extends KubeObject> extends ListWatchOptions<T> {
  /** Cuts away what nobody reads, before the object is kept. Must keep metadata's name, namespace, uid and resourceVersion. */
  transform?: (object: T) => T;
  indexes?: IndexFunctions<T>;
  /** Told of every failure, with the number of failures in a row; the informer goes on by itself. */
  onError?: (error: unknown, failures: number) => void;
}

export interface Informer<T extends KubeObject> {
  /** Starts once; a second call does nothing. */
  start(): void;
  /** Ends the loop; the cache stays readable. Resolves when no handler will run any more. */
  stop(): Promise<void>;
  readonly synced: Promise<void>;
  hasSynced(): boolean;
  get(key: string): T | undefined;
  list(): T[];
  /** Objects under a value of a declared index. */
  byIndex(index: string, value: string): T[];
  readonly size: number;
  /** Milliseconds since the server was last heard; 0 while a watch is open. Infinity before the first list. */
  stalenessMs(): number;
  /** Adds a handler; it first gets an `onAdd` for everything in the cache. Gives a function that removes it. */
  subscribe(handler: InformerHandler<T>): () => void;
}

export function createInformer<T extends KubeObject>(options: InformerOptions<T>): Informer<T> {
  const cache = new ObjectCache<T>(options.indexes);
  const handlers = new Set<InformerHandler<T>>();
  const stopped = new AbortController();
  const synced = Promise.withResolvers<void>();
  let hasSynced = false;
  let listWatch: ListWatch | undefined;

  const notify = (changes: readonly Change<T>[], targets: Iterable<InformerHandler<T>> = handlers) => {
    for (const change of changes) {
      for (const handler of targets) {
        if (stopped.signal.aborted) return;
        try {
          callHandler(handler, change);
        } catch (error) {
          options.onError?.(error, 0);
        }
      }
    }
  };
  const sink = {
    keep: options.transform ?? ((object: T) => object),
    onList: (objects: T[], namespace?: string) => notify(cache.replaceAll(objects, namespace)),
    onGone: (namespace: string) => notify(cache.replaceAll([], namespace)),
    onSynced: () => {
      hasSynced = true;
      synced.resolve();
    },
    onEvent: (type: "ADDED" | "MODIFIED" | "DELETED", object: T) => {
      notify(type === "DELETED" ? cache.remove(keyOf(object)) : cache.put(object));
    },
    onError: (error: unknown, failures: number) => options.onError?.(error, failures),
  };

  const run = (): ListWatch => {
    const { client, type, namespace } = options;
    if (client.scope && type.namespaced && namespace === undefined)
      return runScopedListWatch(options, client.scope, sink, stopped.signal);
    const onList = (objects: T[]) => {
      sink.onList(objects);
      sink.onSynced();
    };
    return runListWatch(options, { ...sink, onList }, stopped.signal);
  };

  return {
    start: () => {
      if (!stopped.signal.aborted) listWatch ??= run();
    },
    stop: async () => {
      stopped.abort();
      synced.resolve();
      await listWatch?.ended;
    },
    synced: synced.promise,
    hasSynced: () => hasSynced,
    get: (key) => cache.get(key),
    list: () => [...cache.values()],
    byIndex: (index, value) => cache.byIndex(index, value),
    get size() {
      return cache.size;
    },
    stalenessMs: () => listWatch?.stalenessMs() ?? Infinity,
    subscribe: (handler) => {
      const present = [...cache.values()].map(
        (object): Change<T> => ({ type: "add", key: keyOf(object), object }),
      );
      handlers.add(handler);
      notify(present, [handler]);
      return () => handlers.delete(handler);
    },
  };
}

function callHandler<T>(handler: InformerHandler<T>, change: Change<T>): void {
  handler.onChange?.(change);
  if (change.type === "add") handler.onAdd?.(change.object);
  else if (change.type === "update") handler.onUpdate?.(change.object, change.previous);
  else handler.onDelete?.(change.previous);
}
