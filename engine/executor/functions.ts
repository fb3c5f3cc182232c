import { PlatformError } from "../../api/errors.ts";
import { Serving } from "../../api/kinds/serving.ts";
import type { KubeFunction } from "./cluster.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { type FunctionIdentity, type Revision, revisionKey } from "./revision.ts";

/**
 * Which revisions exist: the one that each Function serves now, and those before it until they are drained.
 *
 * Invariants
 * 1. A function has at most one current revision; every other one of it is superseded and is drained once.
 * 2. A superseded revision that becomes current again is current with the pods that it still has.
 */
export interface Functions {
  readonly upsert: (object: KubeFunction) => void;
  readonly remove: (object: KubeFunction) => void;
  /** The function's current identity, whatever it serves. */
  readonly find: (namespace: string, name: string) => KnownFunction | undefined;
  readonly revision: (uid: string, revision: string) => Revision | undefined;
  readonly revisions: () => Iterable<Revision>;
  /** A superseded revision has no pods left and nobody asks for it any more. */
  readonly drop: (revision: Revision, error: PlatformError) => void;
}

export interface KnownFunction {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** The revision that it serves; absent before anything of it could serve. */
  readonly current: Revision | undefined;
}

export interface FunctionsOptions {
  readonly log: ExecutorLog;
  readonly create: (identity: FunctionIdentity, serving: Serving) => Revision;
  /** What a Function serves was seen: `serving` may say other numbers of pods than the revision was made with. */
  readonly onServed: (revision: Revision, serving: Serving) => void;
  /** A revision became current; `previous` is the one that it replaces. */
  readonly onCurrent: (revision: Revision, previous: Revision | undefined) => void;
  /** A revision is no longer served. `deleted`: neither is its function. */
  readonly onSuperseded: (revision: Revision, deleted: boolean) => void;
}

export function createFunctions(options: FunctionsOptions): Functions {
  const functions = new Map<string, KnownFunction>();
  const revisions = new Map<string, Revision>();

  const remove = ({ metadata }: KubeFunction) => {
    const known = functions.get(`${metadata.namespace}/${metadata.name}`);
    if (!known) return;
    functions.delete(`${metadata.namespace}/${metadata.name}`);
    for (const revision of revisions.values()) {
      if (revision.identity.uid === known.uid) options.onSuperseded(revision, true);
    }
  };

  const upsert = (object: KubeFunction) => {
    const { metadata } = object;
    const key = `${metadata.namespace}/${metadata.name}`;
    const known = functions.get(key);
    if (known && known.uid !== metadata.uid) remove({ metadata: { ...metadata, uid: known.uid } });
    if (metadata.deletionTimestamp !== undefined) return remove(object);
    const serving = servingOf(object, options.log);
    const { namespace, name, uid } = metadata;
    const previous = functions.get(key)?.current;
    const current =
      serving &&
      revisionOf({ namespace, name, uid, resourceVersion: metadata.resourceVersion ?? "" }, serving);
    functions.set(key, { namespace, name, uid, current });
    if (current && serving) options.onServed(current, serving);
    if (previous === current) return;
    if (current) options.onCurrent(current, previous);
    if (previous) options.onSuperseded(previous, false);
  };

  const revisionOf = (identity: FunctionIdentity, serving: Serving): Revision => {
    const key = revisionKey(identity.uid, serving.revision);
    let revision = revisions.get(key);
    if (!revision) revisions.set(key, (revision = options.create(identity, serving)));
    return revision;
  };

  return {
    upsert,
    remove,
    find: (namespace, name) => functions.get(`${namespace}/${name}`),
    revision: (uid, revision) => revisions.get(revisionKey(uid, revision)),
    revisions: () => revisions.values(),
    drop: (revision, error) => {
      if (revisions.get(revision.key) !== revision) return;
      revisions.delete(revision.key);
      revision.close(error);
    },
  };
}

function servingOf(object: KubeFunction, log: ExecutorLog): Serving | undefined {
  const given = object.status?.serving;
  if (given === undefined || given === null) return undefined;
  const parsed = Serving.safeParse(given);
  if (parsed.success) return parsed.data;
  log.error("status.serving of a Function cannot be understood", {
    function: object.metadata.name,
    namespace: object.metadata.namespace,
    error: parsed.error.message,
  });
  return undefined;
}
