import { type Environment, EnvironmentSpec } from "../api/kinds/index.ts";
import { API_GROUP_VERSION } from "../api/names.ts";
import type { KubeClient } from "../kube/client.ts";
import { ENVIRONMENTS } from "../kube/kinds.ts";
import { isAlreadyExists } from "../kube/kube-error.ts";
import type { KubeObject } from "../kube/object.ts";
import { type ResourceType, resourceType } from "../kube/resource.ts";
import { BUILDER_IMAGE, DENO_IMAGE } from "./image-table.ts";

interface Secret extends KubeObject {
  stringData?: Record<string, string>;
  data?: Record<string, string>;
}
const SECRETS = resourceType<Secret>("v1", "Secret", "secrets");
const NAMESPACE = "default";
const POOL_SIZE = 3;

async function createOnce<T extends KubeObject>(
  kube: KubeClient,
  type: ResourceType<T>,
  object: T,
): Promise<void> {
  try {
    await kube.create(type, object);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

const environment: Environment = {
  apiVersion: API_GROUP_VERSION,
  kind: "Environment",
  metadata: { name: "deno", namespace: NAMESPACE },
  spec: EnvironmentSpec.parse({
    version: 3,
    runtime: { image: DENO_IMAGE },
    builder: { image: BUILDER_IMAGE },
    poolsize: POOL_SIZE,
  }),
};

/**
 * Makes what a new local platform starts with, unless it is there: the environment `deno`, and the secret `redis` with the address that
 * functions may use. @param redisUrl That address; undefined without Redis.
 */
export async function bootstrap(kube: KubeClient, redisUrl: string | undefined): Promise<void> {
  await createOnce(kube, ENVIRONMENTS, environment);
  if (redisUrl === undefined) return;
  const ref = { namespace: NAMESPACE, name: "redis" };
  await createOnce(kube, SECRETS, { metadata: ref, stringData: { url: redisUrl } });
  // The port moves with --port-base: the address in the secret follows.
  const data = { url: Buffer.from(redisUrl).toString("base64") };
  if ((await kube.get(SECRETS, ref)).data?.url !== data.url) await kube.patch(SECRETS, ref, { data });
}
