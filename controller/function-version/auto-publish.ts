/**
 * Publishes functions by themselves and keeps the number of their versions, where `spec.versioning` asks for it.
 *
 * Invariants
 * A1. Only what serves is published, once: the same state again makes no other version.
 * A2. Versions go by `removeOldVersions` alone, which asks who needs them; what the local copies say only saves asking.
 */
import type { Function as FunctionObject } from "../../api/kinds/index.ts";
import { planPublish, publishProblem } from "../../api/releases/publish.ts";
import { DEFAULT_RETAINED_VERSIONS, versionsToRemove, versionUses } from "../../api/releases/retention.ts";
import { FUNCTIONS } from "../../kube/kinds.ts";
import { sameJson } from "../../kube/merge-patch.ts";
import { keyOf } from "../../kube/object.ts";
import { NotPublishable, publishVersion } from "../../kube/publish-version.ts";
import { done, type Reconcile } from "../../kube/reconcile.ts";
import { removeOldVersions } from "../../kube/remove-versions.ts";
import type { ControllerContext } from "../context.ts";
import { BY_FUNCTION, functionNames, type World } from "../world.ts";

export function releaseReconcile(context: ControllerContext): Reconcile {
  return async (key) => {
    const fn = context.world.functions.get(key);
    const versioning = fn?.spec.versioning;
    if (!fn || !versioning || fn.metadata.deletionTimestamp) return done;
    if (versioning.mode !== "manual") await publish(context, fn);
    await retain(context, fn, versioning.retain ?? DEFAULT_RETAINED_VERSIONS);
    return done;
  };
}

async function publish({ client, world, events, now }: ControllerContext, fn: FunctionObject): Promise<void> {
  if (publishProblem(fn) !== undefined || isPublished(fn, world, now())) return;
  // The local copy may be behind somebody who published a newer state.
  const latest = await client.find(FUNCTIONS, fn.metadata);
  if (!latest || latest.metadata.uid !== fn.metadata.uid) return;
  try {
    const { version, created } = await publishVersion(client, latest, { now: now() });
    if (created) events.record(fn, "Normal", "Published", `Version "${version.metadata.name}" is published`);
  } catch (error) {
    // It changed meanwhile; its next state comes back to the queue.
    if (!(error instanceof NotPublishable)) throw error;
  }
}

function isPublished(fn: FunctionObject, world: World, now: Date): boolean {
  const environment = world.environments.get(
    `${fn.metadata.namespace ?? "default"}/${fn.status?.serving?.environment.name ?? ""}`,
  );
  const versions = world.versions.byIndex(BY_FUNCTION, keyOf(fn));
  return planPublish(fn, versions, { environment }, now).kind === "published";
}

async function retain(
  { client, world, events }: ControllerContext,
  fn: FunctionObject,
  keep: number,
): Promise<void> {
  const key = keyOf(fn);
  const own = world.versions
    .byIndex(BY_FUNCTION, key)
    .filter(({ spec }) => spec.functionUID === fn.metadata.uid);
  const known = versionUses({
    aliases: world.aliases.byIndex(BY_FUNCTION, key),
    functions: [fn],
    versions: own,
    others: world.triggers.byIndex(BY_FUNCTION, key).map(({ metadata, spec }) => ({ metadata, spec })),
  });
  if (versionsToRemove(own, known, keep).length === 0) return;
  const removed = await removeOldVersions(client, fn, keep);
  if (removed.length > 0)
    events.record(
      fn,
      "Normal",
      "VersionsRemoved",
      `Versions beyond the newest ${keep} that nothing refers to are removed: ${removed.join(", ")}`,
    );
}

/** Brings a function to the queue when there may be something to publish, or a version that nothing needs any more. */
export function watchReleases(world: World, enqueue: (key: string) => void): void {
  world.functions.subscribe({ onChange: ({ key }) => enqueue(key) });
  const enqueueNamed = (namespace: string | undefined, name: string) =>
    enqueue(`${namespace ?? "default"}/${name}`);
  world.versions.subscribe({
    onAdd: ({ metadata, spec }) => enqueueNamed(metadata.namespace, spec.functionName),
    onUpdate: ({ metadata, spec }, previous) => {
      if (!sameJson(metadata.annotations, previous.metadata.annotations))
        enqueueNamed(metadata.namespace, spec.functionName);
    },
    onDelete: ({ metadata, spec }) => enqueueNamed(metadata.namespace, spec.functionName),
  });
  world.aliases.subscribe({
    onChange: (change) => {
      const { metadata, spec } = change.type === "delete" ? change.previous : change.object;
      enqueueNamed(metadata.namespace, spec.functionName);
    },
  });
  world.triggers.subscribe({
    onChange: (change) => {
      const triggers = change.type === "add" ? [] : [change.previous];
      for (const trigger of triggers)
        for (const name of functionNames(trigger.spec.functionref))
          enqueueNamed(trigger.metadata.namespace, name);
    },
  });
}
