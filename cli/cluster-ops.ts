import { z } from "zod";
import { HEADER_OPS_AUTHORIZATION, HEADER_OPS_SEALED } from "../api/wire/ops.ts";
import { kubeClientOf } from "../kube/client.ts";
import type { KubeConnection } from "../kube/connection.ts";
import { KubeError } from "../kube/kube-error.ts";
import { resourceType } from "../kube/resource.ts";
import { CliError } from "./command.ts";
import { type OpsClient, opsClient } from "./ops-client.ts";

const SERVICES = resourceType("v1", "Service", "services");
const CONTROLLER = "app.kubernetes.io/name=isotope,app.kubernetes.io/component=controller";
const OPS_PORT = "ops";
/** ServiceAccount of the chart that callers without a bearer token of their own (client certificates) act as. */
const CLI_ACCOUNT = "isotope-cli";
const TOKEN_SECONDS = 3_600;
const TokenReply = z.object({ status: z.object({ token: z.string() }) });

/**
 * The operations API of the platform that runs on a cluster, through the API server's proxy: a kubeconfig is all that is needed.
 * The API server takes the caller's own Authorization away, so who calls is said in a header of its own.
 * @throws {CliError} when there is none, or more than one and `platformNamespace` names none
 */
export async function clusterOps(
  connection: KubeConnection,
  platformNamespace: string | undefined,
): Promise<OpsClient> {
  const client = kubeClientOf(connection);
  const { namespace, name } = await findController(client, platformNamespace);
  const caller = callerOf(connection, client, namespace);
  return opsClient({
    url: `${connection.server}/api/v1/namespaces/${namespace}/services/${name}:${OPS_PORT}/proxy`,
    dispatcher: connection.dispatcher,
    headers: async () => {
      const own = await connection.authorization();
      return {
        ...(own ? { authorization: own } : {}),
        [HEADER_OPS_AUTHORIZATION]: await caller(),
        [HEADER_OPS_SEALED]: "1",
      };
    },
  });
}

type Client = ReturnType<typeof kubeClientOf>;

async function findController(
  client: Client,
  namespace: string | undefined,
): Promise<{ namespace: string; name: string }> {
  const where = namespace === undefined ? "in any namespace" : `in namespace "${namespace}"`;
  let found;
  try {
    found = (await client.list(SERVICES, { namespace, labelSelector: CONTROLLER })).items;
  } catch (error) {
    if (!(error instanceof KubeError) || error.status !== 403) throw error;
    throw new CliError(
      `Cannot look for the platform ${where}: ${error.message}; set ISOTOPE_PLATFORM_NAMESPACE to the namespace of the platform`,
      { cause: error },
    );
  }
  const [first, ...more] = found;
  if (!first?.metadata.namespace || !first.metadata.name) {
    throw new CliError(
      `Cannot find the platform ${where}: no Service carries the labels ${CONTROLLER}; install it with helm, or set ISOTOPE_OPS_URL`,
    );
  }
  if (more.length > 0) {
    const namespaces = found.map(({ metadata }) => `"${metadata.namespace ?? ""}"`).join(", ");
    throw new CliError(
      `Cannot choose a platform: there is one in each of ${namespaces}; set ISOTOPE_PLATFORM_NAMESPACE to one of them`,
    );
  }
  return { namespace: first.metadata.namespace, name: first.metadata.name };
}

/** `Bearer <token>` of who calls. */
function callerOf(connection: KubeConnection, client: Client, namespace: string): () => Promise<string> {
  let issued: Promise<string> | undefined;
  const issue = async (): Promise<string> => {
    const reply = await client.request({
      method: "POST",
      path: `/api/v1/namespaces/${namespace}/serviceaccounts/${CLI_ACCOUNT}/token`,
      body: {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { expirationSeconds: TOKEN_SECONDS },
      },
    });
    return `Bearer ${TokenReply.parse(reply).status.token}`;
  };
  return async () => {
    const own = await connection.authorization();
    if (own?.startsWith("Bearer ")) return own;
    issued ??= issue();
    return issued;
  };
}
