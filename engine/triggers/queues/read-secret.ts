import type { KubeClient } from "../../../kube/client.ts";
import { SECRETS } from "../../../kube/core.ts";

/** Contents of a Secret. Rejects with a sentence when it is not there. */
export async function readSecret(
  client: Pick<KubeClient, "find">,
  namespace: string,
  name: string,
): Promise<Record<string, string>> {
  const secret = await client.find(SECRETS, { namespace, name });
  if (!secret) throw new Error(`secret: Secret "${name}" not found in namespace "${namespace}"`);
  return Object.fromEntries(
    Object.entries(secret.data ?? {}).map(([key, value]) => [
      key,
      Buffer.from(value, "base64").toString("utf8"),
    ]),
  );
}
