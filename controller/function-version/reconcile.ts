/**
 * Keeps what a FunctionVersion serves in its status.
 *
 * Invariants
 * N1. `status.serving` is the published snapshot with the published archive and image, resolved by the rules of functions.
 * N2. A version that is deleted goes when its function does, or when the API server itself says that nobody names it; until then it serves.
 */
import type { Function as FunctionObject, FunctionVersion } from "../../api/kinds/index.ts";
import { FINALIZER_VERSION_IN_USE, LABEL_FUNCTION_NAME, LABEL_FUNCTION_UID } from "../../api/names.ts";
import { findCondition } from "../../kube/conditions.ts";
import { addFinalizer, removeFinalizer } from "../../kube/finalizers.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import { FUNCTION_VERSIONS } from "../../kube/kinds.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { keyOf } from "../../kube/object.ts";
import { after, done, type Outcome, type Reconcile } from "../../kube/reconcile.ts";
import { listVersionUses } from "../../kube/remove-versions.ts";
import { type ControllerContext, writeStatus } from "../context.ts";
import { referencesIn } from "../function/reconcile.ts";
import type { Archives } from "../package/ports.ts";
import {
  BY_CONFIG_MAP,
  BY_DELETION,
  BY_ENVIRONMENT,
  BY_FUNCTION,
  BY_PACKAGE,
  BY_SECRET,
  type World,
} from "../world.ts";
import { pinnedDigest, resolveVersion } from "./resolve-version.ts";
import { nextVersionStatus } from "./version-status.ts";

/** Kinds without a local copy may refer to a version too, and archives come without an event. */
const RECHECK_MS = 30_000;

export function versionReconcile(context: ControllerContext, archives: Pick<Archives, "find">): Reconcile {
  const { client, world, events, now } = context;
  const own = createOwnWrites();

  const settle = async (
    version: FunctionVersion,
    fn: FunctionObject | undefined,
    keptBy: readonly string[],
  ): Promise<Outcome> => {
    const namespace = version.metadata.namespace ?? "default";
    const archive = await archiveOf(version, archives);
    const resolution = fn
      ? resolveVersion(version, referencesIn(namespace, world), archive)
      : ({ kind: "orphaned" } as const);
    const environment = world.environments.get(
      `${namespace}/${version.spec.snapshot.environment.name ?? ""}`,
    );
    const next = nextVersionStatus(version, resolution, { environment, keptBy, now: now() });
    const ready = findCondition(next.conditions, "Ready");
    const old = findCondition(version.status?.conditions, "Ready");
    await writeStatus(client, FUNCTION_VERSIONS, version, next, own);
    if (ready?.status === "False" && (old?.reason !== ready.reason || old.message !== ready.message))
      events.record(version, "Warning", ready.reason, ready.message);
    return archive && keptBy.length === 0 ? done : after(RECHECK_MS);
  };

  const reconcile = async (key: string, version: FunctionVersion): Promise<Outcome> => {
    const fn = functionOf(version, world);
    if (!version.metadata.deletionTimestamp) {
      const adopted = fn ? await adopt(context, version) : version;
      if (adopted === version) return settle(version, fn, []);
      // The watch brings it again, as it was written.
      if (adopted) own.note(key, adopted);
      return done;
    }
    if (!version.metadata.finalizers?.includes(FINALIZER_VERSION_IN_USE)) return done;
    const keptBy = fn && !fn.metadata.deletionTimestamp ? await usersOf(context, version) : [];
    if (keptBy.length === 0) {
      await removeFinalizer(client, FUNCTION_VERSIONS, version, FINALIZER_VERSION_IN_USE);
      return done;
    }
    events.record(
      version,
      "Warning",
      "VersionInUse",
      `Version "${version.metadata.name}" is kept until nothing refers to it: ${keptBy.join(", ")}`,
    );
    return settle(version, fn, keptBy);
  };

  return async (key) => {
    const version = world.versions.get(key);
    if (!version) {
      own.forget(key);
      return done;
    }
    if (own.isStale(key, version)) return done;
    try {
      return await reconcile(key, version);
    } catch (error) {
      if (isNotFound(error)) return done;
      throw error;
    }
  };
}

/** The function that was published; one of the same name that was made since is another one. */
export function functionOf({ metadata, spec }: FunctionVersion, world: World): FunctionObject | undefined {
  const fn = world.functions.get(`${metadata.namespace ?? "default"}/${spec.functionName}`);
  return fn?.metadata.uid === spec.functionUID ? fn : undefined;
}

/** An archive never changes, so storage is asked once. Container functions have none. */
async function archiveOf(
  version: FunctionVersion,
  archives: Pick<Archives, "find">,
): Promise<{ sizeBytes: number } | undefined> {
  const digest = pinnedDigest(version);
  if (digest === "") return { sizeBytes: 0 };
  const known = version.status?.serving?.package;
  return known?.digest === digest ? known : archives.find(digest);
}

async function usersOf({ client }: ControllerContext, version: FunctionVersion): Promise<readonly string[]> {
  const uses = await listVersionUses(client, [version], { withoutHistory: true });
  return uses.get(version.metadata.name) ?? [];
}

/** Versions that other tools made get what ours have from the start. Gives the same object when nothing was missing. */
async function adopt(
  { client }: ControllerContext,
  version: FunctionVersion,
): Promise<FunctionVersion | undefined> {
  const { metadata, spec } = version;
  const wanted = { [LABEL_FUNCTION_NAME]: spec.functionName, [LABEL_FUNCTION_UID]: spec.functionUID };
  const labelled = Object.entries(wanted).every(([name, value]) => metadata.labels?.[name] === value);
  const guarded = metadata.finalizers?.includes(FINALIZER_VERSION_IN_USE)
    ? version
    : await addFinalizer(client, FUNCTION_VERSIONS, version, FINALIZER_VERSION_IN_USE);
  return labelled ? guarded : client.patch(FUNCTION_VERSIONS, metadata, { metadata: { labels: wanted } });
}

/** Brings a version to the queue when it, or anything that it serves with or is kept by, changes. */
export function watchVersions(world: World, enqueue: (key: string) => void): void {
  const enqueueAll = (versions: readonly FunctionVersion[]) => {
    for (const version of versions) enqueue(keyOf(version));
  };
  world.versions.subscribe({ onChange: ({ key }) => enqueue(key) });
  world.functions.subscribe({
    onChange: (change) => {
      // Of its function a version needs to know only that it is there.
      if (
        change.type === "update" &&
        change.object.metadata.deletionTimestamp === change.previous.metadata.deletionTimestamp
      )
        return;
      enqueueAll(world.versions.byIndex(BY_FUNCTION, change.key));
    },
  });
  const users = (index: string) => ({
    onChange: ({ key }: { key: string }) => enqueueAll(world.versions.byIndex(index, key)),
  });
  world.environments.subscribe(users(BY_ENVIRONMENT));
  world.packages.subscribe(users(BY_PACKAGE));
  world.secrets.subscribe(users(BY_SECRET));
  world.configMaps.subscribe(users(BY_CONFIG_MAP));
  const referrers = {
    onChange: ({ key }: { key: string }) =>
      enqueueAll(world.versions.byIndex(BY_DELETION, key.slice(0, key.indexOf("/")))),
  };
  world.aliases.subscribe(referrers);
  world.triggers.subscribe(referrers);
}
