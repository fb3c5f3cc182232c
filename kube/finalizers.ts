import type { KubeClient } from "./client.ts";
import { isConflict, isInvalid, isNotFound } from "./kube-error.ts";
import { type KubeObject, keyOf } from "./object.ts";
import type { ResourceType } from "./resource.ts";

type PatchClient = Pick<KubeClient, "patch" | "find">;
const MAX_TRIES = 8;

/**
 * Adds a finalizer, so that the object stays until `removeFinalizer`. Others' finalizers are never lost: each write tests the
 * resourceVersion that it was computed from and is computed anew when it fails. Gives the object as stored, or nothing when it
 * is gone or being deleted (a finalizer may not be added then).
 */
export async function addFinalizer<T extends KubeObject>(
  client: PatchClient,
  type: ResourceType<T>,
  object: T,
  finalizer: string,
): Promise<T | undefined> {
  return editFinalizers(client, type, object, (current, latest) =>
    latest.metadata.deletionTimestamp
      ? undefined
      : current.includes(finalizer)
        ? current
        : [...current, finalizer],
  );
}

/** Removes a finalizer; nothing happens when it is not there. Gives the object as stored, or nothing when it is gone. */
export async function removeFinalizer<T extends KubeObject>(
  client: PatchClient,
  type: ResourceType<T>,
  object: T,
  finalizer: string,
): Promise<T | undefined> {
  // A cached object may be older than the finalizer.
  const known = object.metadata.finalizers?.includes(finalizer)
    ? object
    : await client.find(type, object.metadata);
  if (!known || known.metadata.uid !== object.metadata.uid) return undefined;
  return editFinalizers(client, type, known, (current) =>
    current.includes(finalizer) ? current.filter((name) => name !== finalizer) : current,
  );
}

async function editFinalizers<T extends KubeObject>(
  client: PatchClient,
  type: ResourceType<T>,
  object: T,
  edit: (current: string[], latest: T) => string[] | undefined,
): Promise<T | undefined> {
  let latest: T | undefined = object;
  for (let attempt = 0; attempt < MAX_TRIES && latest; attempt++) {
    const current: string[] = latest.metadata.finalizers ?? [];
    const next = edit(current, latest);
    if (!next) return undefined;
    if (next === current) return latest;
    try {
      return await client.patch(
        type,
        latest.metadata,
        [
          { op: "test", path: "/metadata/uid", value: latest.metadata.uid },
          { op: "test", path: "/metadata/resourceVersion", value: latest.metadata.resourceVersion },
          { op: "add", path: "/metadata/finalizers", value: next },
        ],
        { strategy: "json" },
      );
    } catch (error) {
      if (isNotFound(error)) return undefined;
      if (!isConflict(error) && !isInvalid(error)) throw error;
      const found: T | undefined = await client.find(type, latest.metadata);
      if (found?.metadata.uid !== object.metadata.uid) return undefined;
      latest = found;
    }
  }
  if (!latest) return undefined;
  throw new Error(
    `Cannot edit the finalizers of ${type.kind} "${keyOf(object)}": it changed ${MAX_TRIES} times meanwhile`,
  );
}
