import { join } from "node:path";
import { createKubeClient } from "../../kube/client.ts";
import { NAMESPACES, scopedClient } from "../../kube/namespace-scope.ts";
import { readIndex } from "../../scripts/images/build-images.ts";
import { ROOT } from "../../scripts/images/image-table.ts";
import { type RealWorld, worldOn } from "../executor/real-world.ts";
import { currentCluster } from "./cluster.ts";

const LABEL = "isotope.dev/test-executor";

/**
 * Executors on this machine whose pods run on the cluster, in a namespace that no installed platform minds: it has none of its labels,
 * and no network policies, so that this machine reaches the pods.
 */
export async function clusterWorld(name: string): Promise<RealWorld & { readonly namespace: string }> {
  const { kubeconfig } = currentCluster();
  const client = await createKubeClient({ kubeconfig });
  const namespace = `${name}-${Date.now().toString(36)}`;
  await client.create(NAMESPACES, {
    metadata: {
      name: namespace,
      labels: { [LABEL]: namespace, "pod-security.kubernetes.io/enforce": "restricted" },
    },
  });
  const executorClient = scopedClient(await createKubeClient({ kubeconfig }), [`${LABEL}=${namespace}`]);
  const world = worldOn({
    client,
    executorClient,
    namespace,
    image: imageOf("deno-env"),
    stop: async () => {
      await client.delete(NAMESPACES, { name: namespace });
      await executorClient.close();
      await client.close();
    },
  });
  return { ...world, namespace };
}

/** The image that was built last. */
function imageOf(name: string): string {
  const found = readIndex(join(ROOT, ".cache", "images")).find((image) => image.name === name);
  if (!found) throw new Error(`Image "${name}" was not built: node scripts/build-images.ts`);
  return found.ref;
}
