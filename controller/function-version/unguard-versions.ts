import { FINALIZER_VERSION_IN_USE } from "../../api/names.ts";
import type { KubeClient } from "../../kube/client.ts";
import { removeFinalizer } from "../../kube/finalizers.ts";
import { KubeError } from "../../kube/kube-error.ts";
import { FUNCTION_VERSIONS } from "../../kube/kinds.ts";

/** Lets the versions of a namespace be deleted without the platform, which will not look at them any more. They stay otherwise. */
export async function unguardVersions(client: KubeClient, namespace: string): Promise<void> {
  try {
    for (const version of (await client.list(FUNCTION_VERSIONS, { namespace })).items) {
      if (version.metadata.finalizers?.includes(FINALIZER_VERSION_IN_USE))
        await removeFinalizer(client, FUNCTION_VERSIONS, version, FINALIZER_VERSION_IN_USE);
    }
  } catch (error) {
    // The rights, or the definitions, were gone already.
    if (!(error instanceof KubeError) || (error.status !== 403 && error.status !== 404)) throw error;
  }
}
