import type { KubeClient } from "../kube/client.ts";
import { isConflict } from "../kube/kube-error.ts";
import type { KubeObject } from "../kube/object.ts";
import type { ResourceType } from "../kube/resource.ts";
import { type NounKind, notFound } from "./generic-verbs.ts";

const MAX_TRIES = 8;

/**
 * Reads an object, changes it and writes it back; once more on top of a write that came between (the platform writes to objects too).
 * @throws {CliError} when there is none of this name
 */
export async function changeObject<T extends KubeObject>(
  kube: KubeClient,
  { noun, type }: Pick<NounKind<T>, "noun"> & { type: ResourceType<T> },
  ref: { namespace: string; name: string },
  change: (live: T) => T,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const live = await kube.find(type, ref);
    if (!live) throw notFound(noun, type.kind, ref.name, ref.namespace);
    try {
      await kube.update(type, change(live));
      return;
    } catch (error) {
      if (!isConflict(error) || attempt === MAX_TRIES) throw error;
    }
  }
}
