import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { request } from "undici";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createKubeClient, type KubeClient } from "../../../kube/client.ts";
import { HTTP_TRIGGERS } from "../../../kube/kinds.ts";
import { resourceType } from "../../../kube/resource.ts";
import { clusterTestPlatform } from "../../e2e/cluster-platform.ts";
import { deploy } from "../../e2e/project.ts";
import type { TestPlatform } from "../../e2e/test-platform.ts";
import { applyManifests } from "../apply-manifests.ts";
import { currentCluster } from "../cluster.ts";
import { installPlatform, uninstallPlatform } from "../install-platform.ts";
import { platformImages } from "../platform-images.ts";
import { buildTraefik, startTraefik, stopTraefik, TRAEFIK_CONTROLLER, TRAEFIK_URL } from "./traefik.ts";
import { eventually } from "../../eventually.ts";

/** Routes that a proxy in front of the platform answers by their host. On request only: Traefik takes long to build. */
const PLATFORM = "host-routes";
const LABEL = { "host-routes.test/functions": "yes" };
const CLASSES = resourceType("gateway.networking.k8s.io/v1", "GatewayClass", "gatewayclasses", {
  namespaced: false,
});
const cluster = currentCluster();
let kube: KubeClient;
let platform: TestPlatform | undefined;

beforeAll(async () => {
  if (!cluster.own) throw new Error("Traefik is started in the test cluster's own node");
  const traefik = await buildTraefik((line) => process.stderr.write(`${line}\n`));
  kube = await createKubeClient({ kubeconfig: cluster.kubeconfig });
  for (const name of readdirSync(traefik.gatewayDefinitions))
    await applyManifests(kube, readFileSync(join(traefik.gatewayDefinitions, name), "utf8"));
  const installed = await installPlatform(cluster, {
    images: await platformImages(cluster, () => undefined),
    namespace: PLATFORM,
    values: [
      "fullnameOverride=hostroutes",
      "crds.install=false",
      `functionNamespaces.labels={${Object.entries(LABEL)[0]?.join("=") ?? ""}}`,
      "gatewayApi.enabled=true",
      `gatewayApi.defaultParent=${PLATFORM}/web`,
    ],
  });
  startTraefik(traefik);
  const gateway = { apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway" };
  const listener = { name: "web", protocol: "HTTP", port: 80 };
  await applyManifests(
    kube,
    [
      {
        ...gateway,
        kind: "GatewayClass",
        metadata: { name: "traefik" },
        spec: { controllerName: TRAEFIK_CONTROLLER },
      },
      {
        ...gateway,
        metadata: { name: "web", namespace: PLATFORM },
        spec: { gatewayClassName: "traefik", listeners: [listener] },
      },
    ]
      .map((object) => JSON.stringify(object))
      .join("\n---\n"),
  );
  platform = await clusterTestPlatform({ ...installed, functionNamespaceLabels: LABEL });
  await deploy(platform, {
    "shop.ts": "export default (call) => new Response(`shop ${new URL(call.url).pathname}`);",
  });
}, 1_500_000);
afterAll(async () => {
  await platform?.stop();
  await stopTraefik();
  if (await kube.find(CLASSES, { name: "traefik" })) await kube.delete(CLASSES, { name: "traefik" });
  await uninstallPlatform(cluster, kube, PLATFORM);
  await kube.close();
}, 300_000);

const ask = async (host: string, path: string): Promise<string> => {
  const reply = await request(`${TRAEFIK_URL}${path}`, { headers: { host } });
  return `${reply.statusCode} ${await reply.body.text()}`;
};

test.each(["ingress", "gateway"] as const)(
  "a trigger by %s is answered by its host alone",
  async (provider) => {
    const host = `${provider}.example.com`;
    const ref = { name: `shop-${provider}`, namespace: platform?.namespace ?? "" };
    await kube.create(HTTP_TRIGGERS, {
      apiVersion: "fission.io/v1",
      kind: "HTTPTrigger",
      metadata: ref,
      spec: {
        relativeurl: `/${provider}/{item}`,
        functionref: { type: "name", name: "shop" },
        routeConfig: { provider, hostnames: [host] },
      },
    });
    const path = `/${provider}/tea`;
    expect(
      await eventually(
        () => ask(host, path),
        (answer) => answer.startsWith("200"),
        60_000,
      ),
    ).toMatch(/^200 shop /);
    expect(await ask("other.example.com", path)).toMatch(/^404/);
    expect(await ask(host, "/shop")).toMatch(/^404/);
    await kube.delete(HTTP_TRIGGERS, ref);
    await eventually(
      () => ask(host, path),
      (answer) => answer.startsWith("404"),
      60_000,
    );
  },
);
