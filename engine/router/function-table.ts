import { PlatformError } from "../../api/errors.ts";
import { Serving } from "../../api/kinds/serving.ts";
import type { KubeObject } from "../../kube/object.ts";
import type { EndpointIndex } from "./endpoint-index.ts";
import type { Revision } from "./revision.ts";

/*
 * Which revision each function and each of its versions serves, from `status.serving` of Function and FunctionVersion and nothing else.
 * Invariants:
 * 1. A function has one slot, and so has a version; its object never changes: routes point to it, so a call needs no look-up by name.
 * 2. When the revision of a slot changes, requests in flight finish on the old one; those that wait and all new ones belong to the new
 *    one. Requests of other slots that have the same revision stay where they are.
 * 3. Where a Deployment rolls its pods (newdeploy, container), the change waits for the new revision's first pod, as long as the old one
 *    has any: its pods take a while to start, and the old ones serve until then.
 * 4. A version costs its slot alone until something asks for it: most versions are never called.
 * 5. The slot of a version that was removed serves nothing, from that moment on.
 */

/** What the router reads of a Function. */
export interface ServedFunction extends KubeObject {
  status?: { serving?: unknown };
}

/** What the router reads of a FunctionVersion. */
export interface ServedVersion extends ServedFunction {
  spec: { functionName: string; functionUID: string };
}

export interface FunctionSlot {
  /** `namespace/name` or `namespace/name@version`. */
  readonly key: string;
  readonly namespace: string;
  /** The function's name. */
  readonly name: string;
  /** Name of the FunctionVersion; `""` for the function itself. */
  readonly version: string;
  /** UID of the function; undefined when there is no such function or version. */
  uid: string | undefined;
  resourceVersion: string;
  serving: Serving | undefined;
  /** Of a version that nothing has asked for yet: its `status.serving`, unread. */
  unread: unknown;
  /** Undefined while nothing can be served, and for a version that nothing has asked for. */
  current: Revision | undefined;
  /** The revision that is served as soon as it has a pod. */
  next: Revision | undefined;
  /** Routes and aliases that point here. */
  routes: number;
}

export interface FunctionTableDeps {
  readonly index: Pick<EndpointIndex, "revision" | "pin" | "unpin">;
  /** Called before a revision begins to serve a slot, and again when the object's metadata changes. */
  readonly bind: (revision: Revision, slot: FunctionSlot, serving: Serving) => void;
  /** Called when a function that served nothing begins to serve, and when one went away. */
  readonly settled: (slot: FunctionSlot) => void;
  readonly onMalformed: (key: string, message: string) => void;
  /** Called when a version of a function came, went, or began or ceased to serve. */
  readonly onVersions?: (namespace: string, functionName: string) => void;
}

export class FunctionTable {
  readonly #slots = new Map<string, FunctionSlot>();
  /** Slots of versions by `namespace/version`. */
  readonly #versions = new Map<string, FunctionSlot>();
  /** Slots that wait for a pod of their next revision, by the function's UID. */
  readonly #waiting = new Map<string, Set<FunctionSlot>>();
  readonly #deps: FunctionTableDeps;

  constructor(deps: FunctionTableDeps) {
    this.#deps = deps;
  }

  get(namespace: string, name: string): FunctionSlot | undefined {
    return this.#slots.get(`${namespace}/${name}`);
  }

  /** The slot of a version that exists, ready to serve. */
  version(namespace: string, functionName: string, version: string): FunctionSlot | undefined {
    const slot = this.#versions.get(`${namespace}/${version}`);
    return slot?.name === functionName ? this.#awake(slot) : undefined;
  }

  /** The same by the version's name alone. */
  versionNamed(namespace: string, version: string): FunctionSlot | undefined {
    const slot = this.#versions.get(`${namespace}/${version}`);
    return slot && this.#awake(slot);
  }

  /** Whether a version exists, and whether it has something to serve; nothing is prepared for it. */
  versionState(namespace: string, functionName: string, version: string): "serving" | "idle" | undefined {
    const slot = this.#versions.get(`${namespace}/${version}`);
    if (slot?.name !== functionName) return undefined;
    return slot.serving !== undefined || slot.unread !== undefined ? "serving" : "idle";
  }

  /** The slot of a function or version, existing or not, for a route that points to it. To be given back with `leave`. */
  join(namespace: string, name: string, version = ""): FunctionSlot {
    const slot = this.#slot(namespace, name, version);
    slot.routes += 1;
    return this.#awake(slot);
  }

  leave(slot: FunctionSlot): void {
    slot.routes -= 1;
    this.#forgetIfUnused(slot);
  }

  /** Number of functions. */
  get size(): number {
    return this.#slots.size - this.#versions.size;
  }

  /** Number of versions. */
  get versions(): number {
    return this.#versions.size;
  }

  /** Takes over a Function as it is now. */
  apply(object: ServedFunction): void {
    const { namespace = "default", name, uid, resourceVersion } = object.metadata;
    const slot = this.#slot(namespace, name, "");
    slot.uid = uid;
    slot.resourceVersion = resourceVersion ?? "";
    this.#serve(slot, this.#read(slot, object.status?.serving));
  }

  remove(key: string): void {
    const slot = this.#slots.get(key);
    if (slot) this.#clear(slot);
  }

  /** Takes over a FunctionVersion as it is now. */
  applyVersion(object: ServedVersion): void {
    const { namespace = "default", name, resourceVersion } = object.metadata;
    const { functionName, functionUID } = object.spec;
    const key = `${namespace}/${name}`;
    const before = this.#versions.get(key);
    if (before && before.name !== functionName) this.removeVersion(key);
    const slot = this.#slot(namespace, functionName, name);
    this.#versions.set(key, slot);
    slot.uid = functionUID;
    slot.resourceVersion = resourceVersion ?? "";
    const served = slot.serving !== undefined || slot.unread !== undefined;
    const given = object.status?.serving ?? undefined;
    if (slot.routes > 0 || slot.current) this.#serve(slot, this.#read(slot, given));
    else slot.unread = given;
    if (before !== slot || served !== (given !== undefined)) this.#deps.onVersions?.(namespace, functionName);
  }

  /** @param key `namespace/name` of the FunctionVersion */
  removeVersion(key: string): void {
    const slot = this.#versions.get(key);
    if (!slot) return;
    this.#versions.delete(key);
    // Aliases turn away first: no new request may meet the emptied slot.
    slot.unread = undefined;
    this.#deps.onVersions?.(slot.namespace, slot.name);
    this.#clear(slot);
  }

  /** The pods of a revision changed: one came, or the last one went. */
  podsChanged(revision: Revision): void {
    for (const slot of this.#waiting.get(revision.uid) ?? []) {
      const { next } = slot;
      if (!next || (revision !== next && revision !== slot.current)) continue;
      if (!mustWait(slot, next)) this.#switch(slot, next);
    }
  }

  #awake(slot: FunctionSlot): FunctionSlot {
    const { unread } = slot;
    if (unread === undefined) return slot;
    slot.unread = undefined;
    this.#serve(slot, this.#read(slot, unread));
    return slot;
  }

  #clear(slot: FunctionSlot): void {
    slot.uid = undefined;
    slot.serving = undefined;
    slot.unread = undefined;
    this.#switch(slot, undefined);
    this.#deps.settled(slot);
    this.#forgetIfUnused(slot);
  }

  #serve(slot: FunctionSlot, serving: Serving | undefined): void {
    slot.serving = serving;
    const { uid } = slot;
    const next = serving && uid ? this.#deps.index.revision(uid, serving.revision) : undefined;
    if (next && serving) this.#deps.bind(next, slot, serving);
    if (next && serving && isRolled(serving) && mustWait(slot, next)) this.#expect(slot, next);
    else this.#switch(slot, next);
  }

  /** Notes the revision that the slot waits for; undefined = none any more. */
  #expect(slot: FunctionSlot, next: Revision | undefined): void {
    const before = slot.next;
    if (before === next) return;
    slot.next = next;
    if (next) {
      this.#deps.index.pin(next);
      const waiting = this.#waiting.get(next.uid) ?? new Set();
      this.#waiting.set(next.uid, waiting.add(slot));
    }
    if (!before) return;
    if (before.uid !== next?.uid) {
      const waiting = this.#waiting.get(before.uid);
      waiting?.delete(slot);
      if (waiting?.size === 0) this.#waiting.delete(before.uid);
    }
    this.#deps.index.unpin(before);
  }

  #switch(slot: FunctionSlot, next: Revision | undefined): void {
    const previous = slot.current;
    if (previous !== next) {
      slot.current = next;
      if (next) this.#deps.index.pin(next);
    }
    this.#expect(slot, undefined);
    if (previous === next) return;
    if (!previous) return this.#deps.settled(slot);
    for (const waiter of previous.takeWaiting(slot)) {
      if (next) next.readmitLast(waiter);
      else waiter.refuse(whyNotServed(slot));
    }
    this.#deps.index.unpin(previous);
  }

  #slot(namespace: string, name: string, version: string): FunctionSlot {
    const key = version === "" ? `${namespace}/${name}` : `${namespace}/${name}@${version}`;
    let slot = this.#slots.get(key);
    if (!slot) this.#slots.set(key, (slot = emptySlot(key, namespace, name, version)));
    return slot;
  }

  #forgetIfUnused(slot: FunctionSlot): void {
    if (slot.routes === 0 && slot.uid === undefined) this.#slots.delete(slot.key);
  }

  #read(slot: FunctionSlot, given: unknown): Serving | undefined {
    if (given === undefined || given === null) return undefined;
    const parsed = Serving.safeParse(given);
    if (parsed.success) return parsed.data;
    this.#deps.onMalformed(slot.key, parsed.error.message);
    // A status that cannot be read must not stop what serves already.
    return slot.serving;
  }
}

const emptySlot = (key: string, namespace: string, name: string, version: string): FunctionSlot => ({
  key,
  namespace,
  name,
  version,
  uid: undefined,
  resourceVersion: "",
  serving: undefined,
  unread: undefined,
  current: undefined,
  next: undefined,
  routes: 0,
});

/** Whether the slot keeps what it has until `next` has a pod. */
const mustWait = ({ current }: FunctionSlot, next: Revision): boolean =>
  current !== undefined &&
  current !== next &&
  current.uid === next.uid &&
  current.endpoints.length > 0 &&
  next.endpoints.length === 0;

const isRolled = ({ executorType }: Serving): boolean =>
  executorType === "newdeploy" || executorType === "container";

/** The error for a call of a function or version that serves nothing. */
export function whyNotServed({ namespace, name, version, uid }: FunctionSlot): PlatformError {
  const what =
    version === ""
      ? `Function "${namespace}/${name}"`
      : `Version "${version}" of function "${namespace}/${name}"`;
  if (uid !== undefined)
    return new PlatformError("function_not_ready", `${what} has no revision that can serve yet`);
  return new PlatformError(
    version === "" ? "function_not_found" : "version_not_found",
    `${what} does not exist`,
  );
}
