import type { KubeClient } from "../kube/client.ts";
import type { EventRecorder } from "../kube/events.ts";
import { mergePatch } from "../kube/merge-patch.ts";
import { type KubeObject, keyOf } from "../kube/object.ts";
import type { OwnWrites } from "../kube/own-writes.ts";
import type { ResourceType } from "../kube/resource.ts";
import type { Log } from "../net/log.ts";
import type { World } from "./world.ts";

/** What every reconciler is given. */
export interface ControllerContext {
  readonly client: KubeClient;
  readonly world: World;
  readonly events: EventRecorder;
  readonly log: Log;
  readonly now: () => Date;
}

interface WithStatus extends KubeObject {
  status?: unknown;
}

/**
 * Writes the difference between the object's status and `next`, on condition that the object is the one that was read. Returns the
 * object as it is afterwards; nothing is sent when there is no difference.
 */
export async function writeStatus<T extends WithStatus>(
  client: KubeClient,
  type: ResourceType<T>,
  object: T,
  next: T["status"],
  own: OwnWrites,
): Promise<T> {
  const patch = mergePatch(object.status ?? {}, next);
  if (patch === undefined) return object;
  const written = await client.patchStatus(type, object.metadata, patch, {
    resourceVersion: object.metadata.resourceVersion,
  });
  own.note(keyOf(object), written);
  return written;
}
