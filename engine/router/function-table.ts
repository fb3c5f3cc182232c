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
 * 3. Where a Deployment rolls its pods (newdeploy, container), the change waits for the new revision's first pod, as long as the old one
 *    has any: its pods take a while to start, and the old ones serve until then.
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
  /** The revision that is served as soon as it has a pod. */
  next: Revision | undefined;
  /** Routes that point here. */
  routes: number;
}

export interface FunctionTableDeps {
  readonly index: Pick<EndpointIndex, "revision" | "pin" | "unpin">;
  /** Called before a revision begins to serve a function, and again when the function's metadata changes. */
  readonly bind: (revision: Revision, slot: FunctionSlot, serving: Serving) => void;
  /** Called when a function that served nothing begins to serve, and when one went away. */
  readonly settled: (slot: FunctionSlot) => void;
  readonly onMalformed: (key: string, message: string) => void;
}

export class FunctionTable {
  readonly #slots = new Map<string, FunctionSlot>();
  /** Slots that wait for a pod of their next revision, by the function's UID. */
  readonly #waiting = new Map<string, FunctionSlot>();
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
    if (next && serving && isRolled(serving) && this.#waitsFor(slot, next)) return;
    this.#switch(slot, next);
  }

  /** The pods of a revision changed: one came, or the last one went. */
  podsChanged(revision: Revision): void {
    const slot = this.#waiting.get(revision.uid);
    const next = slot?.next;
    if (!slot || !next || (revision !== next && revision !== slot.current)) return;
    if (this.#waitsFor(slot, next)) return;
    slot.next = next;
    this.#switch(slot, next);
  }

  /** Whether the slot keeps what it has until `next` has a pod. */
  #waitsFor(slot: FunctionSlot, next: Revision): boolean {
    const { current } = slot;
    const waits =
      current !== undefined &&
      current !== next &&
      current.uid === next.uid &&
      current.endpoints.length > 0 &&
      next.endpoints.length === 0;
    if (slot.next && slot.next !== next) this.#deps.index.unpin(slot.next);
    slot.next = waits ? next : undefined;
    if (waits) {
      this.#deps.index.pin(next);
      this.#waiting.set(next.uid, slot);
    }
    return waits;
  }

  remove(key: string): void {
    const slot = this.#slots.get(key);
    if (!slot) return;
    slot.uid = undefined;
    slot.serving = undefined;
    this.#switch(slot, undefined);
    this.#deps.settled(slot);
    this.#forgetIfUnused(slot);
  }

  #switch(slot: FunctionSlot, next: Revision | undefined): void {
    if (slot.next) this.#waiting.delete(slot.next.uid);
    if (slot.next && slot.next !== next) this.#deps.index.unpin(slot.next);
    slot.next = undefined;
    const previous = slot.current;
    if (previous === next) return;
    slot.current = next;
    if (next) this.#deps.index.pin(next);
    if (!previous) return this.#deps.settled(slot);
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
        next: undefined,
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

const isRolled = ({ executorType }: Serving): boolean =>
  executorType === "newdeploy" || executorType === "container";

/** The error for a call of a function that serves nothing. */
export function whyNotServed(slot: FunctionSlot): PlatformError {
  return slot.uid === undefined
    ? new PlatformError("function_not_found", `Function "${slot.key}" does not exist`)
    : new PlatformError("function_not_ready", `Function "${slot.key}" has no revision that can serve yet`);
}
