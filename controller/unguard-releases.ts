import { FINALIZER_CANARY_WEIGHTS, FINALIZER_VERSION_IN_USE } from "../api/names.ts";
import type { KubeClient } from "../kube/client.ts";
import { removeFinalizer } from "../kube/finalizers.ts";
import { CANARY_CONFIGS, FUNCTION_VERSIONS } from "../kube/kinds.ts";
import { KubeError } from "../kube/kube-error.ts";
import type { KubeObject } from "../kube/object.ts";
import type { ResourceType } from "../kube/resource.ts";

/** Lets versions and canaries of a namespace be deleted without the platform, which will not look at them any more. They stay otherwise. */
export async function unguardReleases(client: KubeClient, namespace: string): Promise<void> {
  await unguard(client, namespace, CANARY_CONFIGS, FINALIZER_CANARY_WEIGHTS);
  await unguard(client, namespace, FUNCTION_VERSIONS, FINALIZER_VERSION_IN_USE);
}

async function unguard<T extends KubeObject>(
  client: KubeClient,
  namespace: string,
  type: ResourceType<T>,
  finalizer: string,
): Promise<void> {
  try {
    for (const object of (await client.list(type, { namespace })).items)
      if (object.metadata.finalizers?.includes(finalizer))
        await removeFinalizer(client, type, object, finalizer);
  } catch (error) {
    // The rights, or the definitions, were gone already.
    if (!(error instanceof KubeError) || (error.status !== 403 && error.status !== 404)) throw error;
  }
}
