import { randomBytes } from "node:crypto";
import { vi } from "vitest";
import { z } from "zod";
import { API_GROUP_VERSION, LABEL_FUNCTION_NAME } from "../../../api/names.ts";
import { createKubeClient, type KubeClient } from "../../../kube/client.ts";
import { type Pod, PODS, SECRETS } from "../../../kube/core.ts";
import { NAMESPACES } from "../../../kube/namespace-scope.ts";
import { startTestPlatform } from "../../e2e/platform.ts";
import { deploy } from "../../e2e/project.ts";
import type { TestPlatform } from "../../e2e/test-platform.ts";
import { type Cluster, currentCluster } from "../cluster.ts";
import { LABEL_PROBE } from "../probe-label.ts";
import { pythonImages } from "../python-images.ts";

/**
 * A tenant's namespace on the installed platform, with two functions. `probe` is an ordinary one with a secret. `snoop` runs any Python
 * that it is sent, in a pod of a foreign image: no runtime of ours stands between it and the cluster, only what the cluster enforces.
 */
export interface Tenant {
  readonly kube: KubeClient;
  readonly platform: TestPlatform;
  readonly namespace: string;
  /** The platform's namespace. */
  readonly home: string;
  /** The text of `probe`'s secret. */
  readonly secret: string;
  /** Writes an object of one of the platform's kinds as it is; throws `KubeError`. Resolves to its name. */
  make(plural: string, kind: string, name: string, spec: object): Promise<string>;
  /** What code (that sets `result`) comes to inside `snoop`. */
  python(code: string): Promise<string>;
  /** Running pods. */
  podsIn(namespace: string, labelSelector?: string): Promise<Pod[]>;
  podOf(functionName: string): Promise<Pod>;
  stop(): Promise<void>;
}

/** Foreign images can be given to this machine's own node only. */
export const own = currentCluster().own;
export const WAIT = { timeout: 90_000, interval: 250 };
export const RESTRICTED = { "pod-security.kubernetes.io/enforce": "restricted" };

export const POOLED = { StrategyType: "execution", ExecutionStrategy: { ExecutorType: "poolmgr" } };

const SNOOP = `
def main(request):
    scope = {}
    exec(request.body.decode(), scope)
    return str(scope["result"])
`;
const probe = (namespace: string): string => `
export const config = { route: "/${namespace}/probe", env: { PASSWORD: { secret: "app", key: "password" } }, secrets: ["app"] };
export default async (request: Request) => {
  if (Deno.env.get("PASSWORD") === undefined) return new Response("no secret", { status: 500 });
  return Response.json({ headers: Object.fromEntries(request.headers) });
};`;

export async function startTenant(): Promise<Tenant> {
  const platform = await startTestPlatform();
  if (!platform.installed) throw new Error("ISOTOPE_TEST_CLUSTER names no platform");
  const kube = await createKubeClient({ kubeconfig: platform.connection.kubeconfig });
  const { namespace } = platform;
  const podsIn: Tenant["podsIn"] = async (where, labelSelector) =>
    (await kube.list(PODS, { namespace: where, labelSelector })).items.filter(
      ({ metadata, status }) =>
        metadata.deletionTimestamp === undefined &&
        metadata.labels?.[LABEL_PROBE] === undefined &&
        status?.phase === "Running",
    );
  const tenant: Tenant = {
    kube,
    platform,
    namespace,
    home: platform.installed.platformNamespace,
    secret: `value-${randomBytes(12).toString("hex")}`,
    make: async (plural, kind, name, spec) => {
      const path = `/apis/${API_GROUP_VERSION}/namespaces/${namespace}/${plural}`;
      const body = { apiVersion: API_GROUP_VERSION, kind, metadata: { name }, spec };
      const made = await kube.request({ method: "POST", path, body });
      return z.looseObject({ metadata: z.looseObject({ name: z.string() }) }).parse(made).metadata.name;
    },
    python: async (code) => {
      const reply = await platform.get(`/${namespace}/snoop`, { method: "POST", body: code });
      const text = await reply.text();
      if (reply.status !== 200) throw new Error(`snoop answered ${reply.status} ${text}`);
      return text;
    },
    podsIn,
    podOf: (name) =>
      vi.waitFor(async () => {
        const [pod] = await podsIn(namespace, `${LABEL_FUNCTION_NAME}=${name}`);
        if (pod?.status?.podIP === undefined) throw new Error(`No pod of "${name}"`);
        return pod;
      }, WAIT),
    stop: async () => {
      await kube.close();
      await platform.stop();
    },
  };
  await kube.patch(NAMESPACES, { name: namespace }, { metadata: { labels: RESTRICTED } });
  const data = { password: Buffer.from(tenant.secret).toString("base64") };
  await kube.create(SECRETS, { metadata: { namespace, name: "app" }, data });
  await deploy(platform, { "probe.ts": probe(namespace) });
  if (own) await makeSnoop(tenant, currentCluster());
  await vi.waitFor(async () => {
    const { status } = await platform.get(`/${namespace}/probe`);
    if (status !== 200) throw new Error(`probe answers ${status}`);
  }, WAIT);
  return tenant;
}

async function makeSnoop({ make, namespace, python }: Tenant, cluster: Cluster): Promise<void> {
  const image = (await pythonImages(cluster)).runtime;
  const environment = { namespace, name: "python" };
  const runtime = { version: 3, runtime: { image }, poolsize: 1, terminationGracePeriod: 5 };
  await make("environments", "Environment", "python", runtime);
  const literal = Buffer.from(SNOOP).toString("base64");
  await make("packages", "Package", "snoop", { environment, deployment: { type: "literal", literal } });
  const packageref = { namespace, name: "snoop" };
  await make("functions", "Function", "snoop", {
    InvokeStrategy: POOLED,
    environment,
    package: { packageref },
    functionTimeout: 60,
  });
  const functionref = { type: "name", name: "snoop" };
  const route = { functionref, relativeurl: `/${namespace}/snoop`, methods: ["POST"] };
  await make("httptriggers", "HTTPTrigger", "snoop", route);
  await vi.waitFor(() => python("result = 1"), WAIT);
}
