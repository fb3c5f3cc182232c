import { PlatformError } from "../../api/errors.ts";
import { Serving } from "../../api/kinds/serving.ts";
import type { KubeObject } from "../../kube/object.ts";
import { keyOf } from "../../kube/object.ts";
import type { EndpointIndex } from "./endpoint-index.ts";
import type { Revision } from "./revision.ts";

/*
 * Which revision each function serves, from `Function.status.serving` and nothing else. Invariants:
 * 1. A function has one slot, whose object never changes: routes point to it, so a call needs no look-up by name.
 * 2. When the revision changes, requests in flight finish on the old one; those that wait and all new ones belong to the new one.
 */

/** What the router reads of a Function. */
export interface ServedFunction extends KubeObject {
  status?: { serving?: unknown };
}

export interface FunctionSlot {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  /** Undefined when there is no such function. */
  uid: string | undefined;
  resourceVersion: string;
  serving: Serving | undefined;
  /** Undefined while nothing can be served. */
  current: Revision | undefined;
  /** Routes that point here. */
  routes: number;
}

export interface FunctionTableDeps {
  readonly index: Pick<EndpointIndex, "revision" | "pin" | "unpin">;
  /** Called before a revision begins to serve a function, and again when the function's metadata changes. */
  readonly bind: (revision: Revision, slot: FunctionSlot, serving: Serving) => void;
  readonly onMalformed: (key: string, message: string) => void;
}

export class FunctionTable {
  readonly #slots = new Map<string, FunctionSlot>();
  readonly #deps: FunctionTableDeps;

  constructor(deps: FunctionTableDeps) {
    this.#deps = deps;
  }

  get(namespace: string, name: string): FunctionSlot | undefined {
    return this.#slots.get(`${namespace}/${name}`);
  }

  /** The slot of a function, existing or not, for a route that points to it. To be given back with `leave`. */
  join(namespace: string, name: string): FunctionSlot {
    const slot = this.#slot(namespace, name);
    slot.routes += 1;
    return slot;
  }

  leave(slot: FunctionSlot): void {
    slot.routes -= 1;
    this.#forgetIfUnused(slot);
  }

  get size(): number {
    return this.#slots.size;
  }

  /** Takes over a Function as it is now. */
  apply(object: ServedFunction): void {
    const { namespace = "default", name, uid, resourceVersion } = object.metadata;
    const slot = this.#slot(namespace, name);
    slot.uid = uid;
    slot.resourceVersion = resourceVersion ?? "";
    const serving = this.#servingOf(object);
    slot.serving = serving;
    const next = serving && uid ? this.#deps.index.revision(uid, serving.revision) : undefined;
    if (next && serving) this.#deps.bind(next, slot, serving);
    this.#switch(slot, next);
  }

  remove(key: string): void {
    const slot = this.#slots.get(key);
    if (!slot) return;
    slot.uid = undefined;
    slot.serving = undefined;
    this.#switch(slot, undefined);
    this.#forgetIfUnused(slot);
  }

  #switch(slot: FunctionSlot, next: Revision | undefined): void {
    const previous = slot.current;
    if (previous === next) return;
    slot.current = next;
    if (next) this.#deps.index.pin(next);
    if (!previous) return;
    for (const waiter of previous.takeWaiting()) {
      if (next) next.readmitLast(waiter);
      else waiter.refuse(whyNotServed(slot));
    }
    this.#deps.index.unpin(previous);
  }

  #slot(namespace: string, name: string): FunctionSlot {
    const key = `${namespace}/${name}`;
    let slot = this.#slots.get(key);
    if (!slot) {
      slot = {
        key,
        namespace,
        name,
        uid: undefined,
        resourceVersion: "",
        serving: undefined,
        current: undefined,
        routes: 0,
      };
      this.#slots.set(key, slot);
    }
    return slot;
  }

  #forgetIfUnused(slot: FunctionSlot): void {
    if (slot.routes === 0 && slot.uid === undefined) this.#slots.delete(slot.key);
  }

  #servingOf(object: ServedFunction): Serving | undefined {
    const given = object.status?.serving;
    if (given === undefined || given === null) return undefined;
    const parsed = Serving.safeParse(given);
    if (parsed.success) return parsed.data;
    this.#deps.onMalformed(keyOf(object), parsed.error.message);
    // A status that cannot be read must not stop what serves already.
    return this.#slots.get(keyOf(object))?.serving;
  }
}

/** The error for a call of a function that serves nothing. */
export function whyNotServed(slot: FunctionSlot): PlatformError {
  return slot.uid === undefined
    ? new PlatformError("function_not_found", `Function "${slot.key}" does not exist`)
    : new PlatformError("function_not_ready", `Function "${slot.key}" has no revision that can serve yet`);
}
