import { type KubeObject, keyOf } from "./object.ts";

/** For each index: the values under which an object is found, e.g. the names of the secrets that it uses. */
export type IndexFunctions<T> = Record<string, (object: T) => readonly string[]>;

/** What happened to one key. `previous` is the object as it was before. */
export type Change<T> =
  | { type: "add"; key: string; object: T }
  | { type: "update"; key: string; object: T; previous: T }
  | { type: "delete"; key: string; previous: T };

/** Objects by key, with indexes kept in step. Pure state: knows nothing of watches. */
export class ObjectCache<T extends KubeObject> {
  readonly #objects = new Map<string, T>();
  readonly #indexFunctions: IndexFunctions<T>;
  readonly #indexes = new Map<string, Map<string, Set<string>>>();

  constructor(indexFunctions: IndexFunctions<T> = {}) {
    this.#indexFunctions = indexFunctions;
    for (const name of Object.keys(indexFunctions)) this.#indexes.set(name, new Map());
  }
  get size(): number {
    return this.#objects.size;
  }
  get(key: string): T | undefined {
    return this.#objects.get(key);
  }
  values(): IterableIterator<T> {
    return this.#objects.values();
  }
  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }
  /** Objects whose index function gives `value`. Throws on an index that was not declared. */
  byIndex(index: string, value: string): T[] {
    const table = this.#indexes.get(index);
    if (!table) {
      throw new TypeError(
        `Cannot look up index "${index}": it must be one of "${[...this.#indexes.keys()].join('", "')}"`,
      );
    }
    const found: T[] = [];
    for (const key of table.get(value) ?? []) {
      const object = this.#objects.get(key);
      if (object) found.push(object);
    }
    return found;
  }
  /** Stores an object. An object of the same name but another UID counts as deleted and added. */
  put(object: T): Change<T>[] {
    const key = keyOf(object);
    const previous = this.#objects.get(key);
    if (previous && previous.metadata.uid !== object.metadata.uid) {
      return [...this.remove(key), ...this.put(object)];
    }
    if (previous && sameVersion(previous, object)) return [];
    if (previous) this.#unindex(key, previous);
    this.#objects.set(key, object);
    this.#index(key, object);
    return [previous ? { type: "update", key, object, previous } : { type: "add", key, object }];
  }
  remove(key: string): Change<T>[] {
    const previous = this.#objects.get(key);
    if (!previous) return [];
    this.#objects.delete(key);
    this.#unindex(key, previous);
    return [{ type: "delete", key, previous }];
  }
  /**
   * Makes the cache (or its part of one namespace) equal to `objects` and tells what that changed: deletions first.
   */
  replaceAll(objects: readonly T[], namespace?: string): Change<T>[] {
    const present = new Set(objects.map(keyOf));
    const inPart = (key: string) => namespace === undefined || key.startsWith(`${namespace}/`);
    const changes = [...this.#objects.keys()]
      .filter((key) => !present.has(key) && inPart(key))
      .flatMap((key) => this.remove(key));
    for (const object of objects) changes.push(...this.put(object));
    return changes;
  }
  #index(key: string, object: T): void {
    for (const [name, valuesOf] of Object.entries(this.#indexFunctions)) {
      const table = this.#indexes.get(name);
      for (const value of valuesOf(object)) {
        const keys = table?.get(value);
        if (keys) keys.add(key);
        else table?.set(value, new Set([key]));
      }
    }
  }
  #unindex(key: string, object: T): void {
    for (const [name, valuesOf] of Object.entries(this.#indexFunctions)) {
      const table = this.#indexes.get(name);
      for (const value of valuesOf(object)) {
        const keys = table?.get(value);
        keys?.delete(key);
        if (keys?.size === 0) table?.delete(value);
      }
    }
  }
}

function sameVersion(a: KubeObject, b: KubeObject): boolean {
  return (
    a.metadata.resourceVersion !== undefined && a.metadata.resourceVersion === b.metadata.resourceVersion
  );
}
