import { join } from "node:path";
import { z } from "zod";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import type { BuiltImage } from "../../scripts/images/build-images.ts";
import { ROOT } from "../../scripts/images/image-table.ts";
import { runCommand } from "../../scripts/images/run-command.ts";
import type { InstalledPlatform } from "../e2e/installed-platform.ts";
import { applyManifests } from "./apply-manifests.ts";
import type { Cluster } from "./cluster.ts";

const CHART = join(ROOT, "charts", "isotope");
const TIMEOUT = "5m";
/** Chart values by the name of the image. */
const IMAGE_VALUES: Readonly<Record<string, string>> = {
  isotope: "image",
  "deno-env": "environmentImage",
  builder: "builderImage",
  fetcher: "fetcherImage",
};
/** Small requests: the test node has two cores, and many platforms and functions to place on them. */
const SMALL = [
  "router",
  "executor",
  "controller",
  "storage",
  "logs",
  "redis",
  "workflows",
  "workflows.definitionHost",
  "triggers",
].map((part) => `${part}.resources.requests.cpu=10m`);

const Services = z.looseObject({
  items: z.array(
    z.looseObject({
      spec: z.looseObject({
        clusterIP: z.string(),
        ports: z.array(z.looseObject({ name: z.string().optional(), port: z.number() })),
      }),
    }),
  ),
});

/** Chart values that name built images. */
export function imageValues(images: readonly BuiltImage[]): string[] {
  const [first] = images;
  if (!first) throw new RangeError("Cannot install the platform: no image was built");
  const registry = first.ref.slice(0, first.ref.indexOf("/"));
  return [
    `image.registry=${registry}`,
    ...images.flatMap(({ name, tag }) => {
      const key = IMAGE_VALUES[name];
      return key === undefined ? [] : [`${key}.tag=${tag}`];
    }),
  ];
}

export interface InstallOptions {
  readonly images: readonly BuiltImage[];
  /** Namespace and, for more than one platform per cluster, the labels of its function namespaces. */
  readonly namespace: string;
  /** Further chart values, as `path=value`. */
  readonly values?: readonly string[];
}

/** Runs helm against a cluster. */
export const helm = (cluster: Cluster, args: readonly string[]): Promise<string> =>
  runCommand(cluster.helm, [...args, "--kubeconfig", cluster.kubeconfig]);

/** Installs or upgrades the platform from the chart, waits until it is ready, and says how tests reach it. */
export async function installPlatform(cluster: Cluster, options: InstallOptions): Promise<InstalledPlatform> {
  const { images, namespace, values = [] } = options;
  const client = await createKubeClient({ kubeconfig: cluster.kubeconfig });
  try {
    await applyManifests(
      client,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Namespace",
        metadata: { name: namespace, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
      }),
    );
    const set = [...SMALL, ...imageValues(images), ...values].flatMap((value) => ["--set", value]);
    await helm(cluster, [
      "upgrade",
      "--install",
      "isotope",
      CHART,
      "--namespace",
      namespace,
      "--wait",
      "--timeout",
      TIMEOUT,
      ...set,
    ]);
    const { items } = Services.parse(
      await client.request({
        method: "GET",
        path: `/api/v1/namespaces/${namespace}/services`,
        query: { labelSelector: "app.kubernetes.io/name=isotope,app.kubernetes.io/component=router" },
      }),
    );
    const service = items.find(({ spec }) => spec.clusterIP !== "None")?.spec;
    if (!service?.ports[0])
      throw new Error(`Cannot find the router: namespace "${namespace}" has no Service of it`);
    return {
      kubeconfig: cluster.kubeconfig,
      routerUrl: `http://${service.clusterIP}:${service.ports[0].port}`,
      platformNamespace: namespace,
      functionNamespaceLabels: { "isotope.dev/functions": "enabled" },
    };
  } finally {
    await client.close();
  }
}

/** Uninstalls the platform of a namespace, if there is one, and asks for the removal of the namespaces that it and its tests used. */
export async function uninstallPlatform(
  cluster: Cluster,
  client: KubeClient,
  namespace: string,
  others: readonly string[] = [],
): Promise<void> {
  await helm(cluster, ["uninstall", "isotope", "--namespace", namespace, "--wait", "--ignore-not-found"]);
  for (const name of [...others, namespace, `${namespace}-logs`]) await client.delete(NAMESPACES, { name });
}
