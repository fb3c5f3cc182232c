import { PlatformError } from "../../api/errors.ts";
import { Serving } from "../../api/kinds/serving.ts";
import type { KubeFunction, KubeFunctionVersion, ObjectMeta } from "./cluster.ts";
import type { ExecutorLog } from "./executor-log.ts";
import { type FunctionIdentity, type Revision, revisionKey } from "./revision.ts";

/**
 * Which revisions exist: the one that each Function serves now, those that its versions name, and those before until they are drained.
 *
 * Invariants
 * 1. A function has at most one current revision. A revision is named while it is current or a version of the function names it; any other
 *    one is superseded and is drained once.
 * 2. A superseded revision that is named again goes on with the pods that it still has.
 * 3. A version names something only while the Function that it was published from exists, by UID. One that is being deleted still does:
 *    it goes when its object does.
 */
export interface Functions {
  readonly upsert: (object: KubeFunction) => void;
  readonly remove: (object: KubeFunction) => void;
  readonly upsertVersion: (object: KubeFunctionVersion) => void;
  readonly removeVersion: (object: KubeFunctionVersion) => void;
  /** The function's current identity, whatever it serves. */
  readonly find: (namespace: string, name: string) => KnownFunction | undefined;
  readonly revision: (uid: string, revision: string) => Revision | undefined;
  /** What a version of the function (by name and UID) serves. */
  readonly versionRevision: (namespace: string, version: string, functionUid: string) => Revision | undefined;
  readonly isCurrent: (revision: Revision) => boolean;
  /** Whether the function serves the revision or a version names it. */
  readonly isNamed: (revision: Revision) => boolean;
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
  /** What a Function or version serves was seen: `serving` may say other numbers of pods than the revision was made with. */
  readonly onServed: (revision: Revision, serving: Serving) => void;
  /** A revision became current; `previous` is the one that it replaces. */
  readonly onCurrent: (revision: Revision, previous: Revision | undefined) => void;
  /** A version names the revision. */
  readonly onNamed: (revision: Revision) => void;
  /** Nothing names the revision any more. `deleted`: its function does not exist either. */
  readonly onSuperseded: (revision: Revision, deleted: boolean) => void;
}

interface KnownVersion {
  readonly metadata: ObjectMeta;
  readonly functionKey: string;
  readonly functionUid: string;
  readonly serving: Serving;
  /** What it names; undefined while its Function is not known. */
  revision: Revision | undefined;
}

interface State {
  readonly options: FunctionsOptions;
  readonly functions: Map<string, KnownFunction>;
  readonly versions: Map<string, KnownVersion>;
  /** Versions by `functionUid`. */
  readonly published: Map<string, Set<KnownVersion>>;
  readonly revisions: Map<string, Revision>;
}

const keyOf = ({ namespace, name }: { readonly namespace: string; readonly name: string }): string =>
  `${namespace}/${name}`;

export function createFunctions(options: FunctionsOptions): Functions {
  const state: State = {
    options,
    functions: new Map(),
    versions: new Map(),
    published: new Map(),
    revisions: new Map(),
  };
  const { functions, versions, revisions } = state;
  return {
    upsert: (object) => upsert(state, object),
    remove: ({ metadata }) => remove(state, keyOf(metadata)),
    upsertVersion: (object) => upsertVersion(state, object),
    removeVersion: ({ metadata }) => {
      const version = versions.get(keyOf(metadata));
      if (!version) return;
      forget(state, version);
      if (version.revision) release(state, version.revision);
    },
    find: (namespace, name) => functions.get(`${namespace}/${name}`),
    revision: (uid, revision) => revisions.get(revisionKey(uid, revision)),
    versionRevision: (namespace, name, functionUid) => {
      const version = versions.get(`${namespace}/${name}`);
      return version?.functionUid === functionUid ? version.revision : undefined;
    },
    isCurrent: (revision) => isCurrent(state, revision),
    isNamed: (revision) => isNamed(state, revision),
    revisions: () => revisions.values(),
    drop: (revision, error) => {
      if (revisions.get(revision.key) !== revision) return;
      revisions.delete(revision.key);
      revision.close(error);
    },
  };
}

const isCurrent = ({ functions }: State, revision: Revision): boolean =>
  functions.get(keyOf(revision.identity))?.current === revision;

function isNamed(state: State, revision: Revision): boolean {
  if (isCurrent(state, revision)) return true;
  for (const version of state.published.get(revision.identity.uid) ?? [])
    if (version.revision === revision) return true;
  return false;
}

/** Somebody names the revision no more. */
function release(state: State, revision: Revision): void {
  if (!isNamed(state, revision)) state.options.onSuperseded(revision, false);
}

function upsert(state: State, object: KubeFunction): void {
  const { functions, options } = state;
  const { metadata } = object;
  const key = keyOf(metadata);
  const known = functions.get(key);
  if (metadata.deletionTimestamp !== undefined) return remove(state, key);
  if (known && known.uid !== metadata.uid) remove(state, key);
  const { namespace, name, uid } = metadata;
  const isNew = !functions.has(key);
  const serving = servingOf("Function", object, options.log);
  const previous = functions.get(key)?.current;
  const identity = { namespace, name, uid, resourceVersion: metadata.resourceVersion ?? "" };
  const current = serving && revisionOf(state, identity, serving);
  functions.set(key, { namespace, name, uid, current });
  if (current && serving) options.onServed(current, serving);
  if (previous !== current) {
    if (current) options.onCurrent(current, previous);
    if (previous) release(state, previous);
    // From now on the versions say how many pods it has.
    for (const version of state.published.get(uid) ?? [])
      if (version.revision === previous) takeEffect(state, version);
  }
  if (isNew) for (const version of state.published.get(uid) ?? []) takeEffect(state, version);
}

function remove(state: State, key: string): void {
  const { functions, published, revisions, options } = state;
  const known = functions.get(key);
  if (!known) return;
  functions.delete(key);
  for (const version of published.get(known.uid) ?? []) version.revision = undefined;
  for (const revision of revisions.values())
    if (revision.identity.uid === known.uid) options.onSuperseded(revision, true);
}

function upsertVersion(state: State, object: KubeFunctionVersion): void {
  const { metadata, spec } = object;
  const serving = servingOf("FunctionVersion", object, state.options.log);
  const known = state.versions.get(keyOf(metadata));
  if (known) forget(state, known);
  if (serving) {
    const version: KnownVersion = {
      metadata,
      functionKey: `${metadata.namespace}/${spec.functionName}`,
      functionUid: spec.functionUID,
      serving,
      revision: undefined,
    };
    state.versions.set(keyOf(metadata), version);
    const siblings = state.published.get(spec.functionUID) ?? new Set();
    state.published.set(spec.functionUID, siblings.add(version));
    takeEffect(state, version);
  }
  if (known?.revision) release(state, known.revision);
}

function forget({ versions, published }: State, version: KnownVersion): void {
  versions.delete(keyOf(version.metadata));
  const siblings = published.get(version.functionUid);
  siblings?.delete(version);
  if (siblings?.size === 0) published.delete(version.functionUid);
}

/** The version names its revision from now on, if its Function exists. */
function takeEffect(state: State, version: KnownVersion): void {
  const { functionKey, functionUid, serving, metadata } = version;
  const fn = state.functions.get(functionKey);
  if (!fn || fn.uid !== functionUid) return;
  const { namespace, name, uid } = fn;
  const identity = { namespace, name, uid, resourceVersion: metadata.resourceVersion ?? "" };
  const revision = revisionOf(state, identity, serving);
  version.revision = revision;
  // The Function's own word about numbers of pods counts more.
  if (isCurrent(state, revision)) return;
  state.options.onServed(revision, serving);
  state.options.onNamed(revision);
}

function revisionOf({ revisions, options }: State, identity: FunctionIdentity, serving: Serving): Revision {
  const key = revisionKey(identity.uid, serving.revision);
  let revision = revisions.get(key);
  if (!revision) revisions.set(key, (revision = options.create(identity, serving)));
  return revision;
}

function servingOf(
  kind: string,
  { metadata, status }: Pick<KubeFunction, "metadata" | "status">,
  log: ExecutorLog,
): Serving | undefined {
  const given = status?.serving;
  if (given === undefined || given === null) return undefined;
  const parsed = Serving.safeParse(given);
  if (parsed.success) return parsed.data;
  log.error(`status.serving of a ${kind} cannot be understood`, {
    name: metadata.name,
    namespace: metadata.namespace,
    error: parsed.error.message,
  });
  return undefined;
}
