import { isRefusal } from "../kubelet/error-text.ts";
import type { ObjectMeta } from "../store/kube-object.ts";
import type { Store } from "../store/store.ts";
import { controlledBy, controllerOf } from "./workload.ts";

interface Owner {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

/**
 * The objects of `candidates` that `owner` controls, after taking in matching ones without a controller and letting go of its own that
 * no longer match.
 */
export async function claimOwned<T extends { metadata: ObjectMeta }>(
  store: Pick<Store, "patch">,
  resource: string,
  owner: Owner,
  candidates: readonly T[],
  matches: (candidate: T) => boolean,
): Promise<T[]> {
  const claimed: T[] = [];
  const setOwners = async ({ metadata }: T, ownerReferences: unknown[]): Promise<boolean> => {
    const patch = {
      metadata: { uid: metadata.uid, ownerReferences: ownerReferences.length > 0 ? ownerReferences : null },
    };
    try {
      await store.patch(resource, metadata.namespace, metadata.name, patch);
      return true;
    } catch (error) {
      if (isRefusal(error, 404, 409, 422)) return false;
      throw error;
    }
  };
  for (const candidate of candidates) {
    const controller = controllerOf(candidate);
    const { ownerReferences = [], deletionTimestamp } = candidate.metadata;
    if (controller) {
      if (controller.uid !== owner.metadata.uid) continue;
      if (matches(candidate)) claimed.push(candidate);
      else {
        await setOwners(
          candidate,
          ownerReferences.filter(({ uid }) => uid !== owner.metadata.uid),
        );
      }
    } else if (
      matches(candidate) &&
      deletionTimestamp === undefined &&
      owner.metadata.deletionTimestamp === undefined
    ) {
      if (await setOwners(candidate, [...ownerReferences, controlledBy(owner)])) claimed.push(candidate);
    }
  }
  return claimed;
}
