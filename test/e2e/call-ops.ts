import { type OpsClient, opsClient } from "../../cli/ops-client.ts";
import { loadKubeConnection } from "../../kube/connection.ts";
import type { Connection } from "../../net/local-connection.ts";

/** Of a local platform, as the owner of its kubeconfig. */
export const localOps = ({ opsUrl, kubeconfig }: Connection): OpsClient =>
  opsClient({
    url: opsUrl,
    headers: async () => {
      const connection = await loadKubeConnection({ kubeconfig });
      return { authorization: (await connection.authorization()) ?? "" };
    },
  });

/** One call, whatever its status. */
export async function callOps(
  ops: OpsClient,
  path: string,
  body?: unknown,
): Promise<{ status: number; text: string }> {
  const reply = await ops.send(path, {
    ...(body === undefined
      ? {}
      : {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        }),
    bodyTimeoutMs: 0,
  });
  return { status: reply.status, text: await reply.body.text() };
}
