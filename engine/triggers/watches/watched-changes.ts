import { createHash } from "node:crypto";
import type { WATCH_EVENTS } from "../../../api/kinds/index.ts";
import { canonicalJson } from "../../../api/canonical-json.ts";
import { type KubeObject, keyOf } from "../../../kube/object.ts";
import type { Seen } from "./watch-journal.ts";

/** One change of one object. */
export interface WatchedChange {
  readonly type: (typeof WATCH_EVENTS)[number];
  readonly name: string;
  /** Of one that went while nobody looked: its name and UID only. */
  readonly object: KubeObject;
  /** What is kept of it afterwards. */
  readonly seen: Seen | undefined;
}

/** What is kept of an object. `fields`: paths such as `status.phase`; none = the version tells enough. */
export function seenOf(object: KubeObject, fields: readonly string[]): Seen {
  const { uid = "", resourceVersion = "" } = object.metadata;
  const values = fields.map((path) => valueAt(object, path) ?? null);
  const digest =
    fields.length === 0 ? "" : createHash("sha256").update(canonicalJson(values)).digest("base64url");
  return { uid, version: resourceVersion, fields: digest.slice(0, 16) };
}

const STEP = /\['([^']*)'\]|\[(\d+|\*)\]|([^.[\]']+)/g;
/**
 * `status.conditions[0].type`, `metadata.labels['app.kubernetes.io/name']`, `status.containerStatuses[*].restartCount` (of each: a list); a dot in
 * front is allowed.
 */
export function valueAt(object: unknown, path: string): unknown {
  const steps = [...path.matchAll(STEP)].map(([, quoted, index, name]) => quoted ?? index ?? name ?? "");
  return valueOf(object, steps);
}

function valueOf(value: unknown, [step, ...rest]: readonly string[]): unknown {
  if (step === undefined) return value;
  if (step === "*")
    return Array.isArray(value) ? value.map((each) => valueOf(each, rest) ?? null) : undefined;
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
  return valueOf(Reflect.get(value, step), rest);
}

/** What has changed between what was seen and a list, as a watch would have told it: by version, what went last. Pure. */
export function changesSince(
  before: ReadonlyMap<string, Seen>,
  list: readonly KubeObject[],
  fields: readonly string[],
): WatchedChange[] {
  const present = new Map(list.map((object) => [keyOf(object), object]));
  const gone = [...before]
    .filter(([name, seen]) => present.get(name)?.metadata.uid !== seen.uid)
    .map(
      ([name, seen]): WatchedChange => ({
        type: "DELETED",
        name,
        object: goneObject(name, seen),
        seen: undefined,
      }),
    );
  const changed = list
    .filter((object) => before.get(keyOf(object))?.version !== object.metadata.resourceVersion)
    .toSorted((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion))
    .map((object): WatchedChange => {
      const name = keyOf(object);
      const same = before.get(name)?.uid === object.metadata.uid;
      return { type: same ? "MODIFIED" : "ADDED", name, object, seen: seenOf(object, fields) };
    });
  return [...gone, ...changed];
}

/** Whether a change is one of those that the trigger wants. */
export function isWanted(
  change: WatchedChange,
  before: Seen | undefined,
  events: readonly string[],
  fields: readonly string[],
): boolean {
  if (events.length > 0 && !events.includes(change.type)) return false;
  return change.type !== "MODIFIED" || fields.length === 0 || before?.fields !== change.seen?.fields;
}

function goneObject(key: string, { uid, version }: Seen): KubeObject {
  const slash = key.indexOf("/");
  return {
    metadata: { namespace: key.slice(0, slash), name: key.slice(slash + 1), uid, resourceVersion: version },
  };
}
