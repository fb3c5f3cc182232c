import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import { resourceType } from "../../kube/resource.ts";
import { type Cluster, currentCluster, up } from "../cluster/cluster.ts";
import { installPlatform, uninstallPlatform } from "../cluster/install-platform.ts";
import { NETWORK } from "../cluster/layout.ts";
import { startPackageRelay } from "../cluster/package-relay.ts";
import { platformImages } from "../cluster/platform-images.ts";
import { clusterTestPlatform } from "../e2e/cluster-platform.ts";
import type { InstalledPlatform } from "../e2e/installed-platform.ts";
import { deploy } from "../e2e/project.ts";
import { printConditions, printLoadAfter, printTable } from "./report.ts";
import { timedCaller } from "./timed-call.ts";

const NAMESPACE = "isotope-bench";
const LABELS = { "bench.test/functions": "enabled" };
const CRDS = resourceType(
  "apiextensions.k8s.io/v1",
  "CustomResourceDefinition",
  "customresourcedefinitions",
  {
    namespaced: false,
  },
);
const GONE_TIMEOUT_MS = 120_000;
const ANSWER_TIMEOUT_MS = 60_000;
const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** The processes as the chart asks by default, one replica of each: what DESIGN's numbers are about. */
const VALUES = [
  "fullnameOverride=isobench",
  "functionNamespaces.labels={bench.test/functions=enabled}",
  ...["router", "executor", "controller"].flatMap((part) => [
    `${part}.replicas=1`,
    `${part}.resources.requests.cpu=100m`,
  ]),
  ...["storage", "logs"].map((part) => `${part}.resources.requests.cpu=20m`),
];

interface BenchRelease {
  /** For ISOTOPE_TEST_CLUSTER. */
  readonly file: string;
  /** Uninstalls it, with all that it left. */
  remove(): Promise<void>;
}

/**
 * Installs the chart for benchmarks beside whatever the cluster runs, and prints how long that takes until a function answers. Starts
 * this machine's test cluster when it does not run; it stays up.
 */
export async function installBenchRelease(): Promise<BenchRelease> {
  const named = currentCluster();
  const cluster = named.own ? (await up({ log: say })).cluster : named;
  const images = await platformImages(cluster, say);
  const relay = await startPackageRelay(cluster);
  const kube = await createKubeClient({ kubeconfig: cluster.kubeconfig });
  const folder = mkdtempSync(join(tmpdir(), "isotope-bench-"));
  const remove = async (): Promise<void> => {
    await uninstall(cluster, kube);
    await kube.close();
    await relay.stop();
    rmSync(folder, { recursive: true });
  };
  try {
    await uninstall(cluster, kube);
    const hasDefinitions = (await kube.find(CRDS, { name: "functions.fission.io" })) !== undefined;
    const values = [
      ...VALUES,
      ...(hasDefinitions ? ["crds.install=false"] : ["crds.keep=false"]),
      ...relay.values,
      // The blind pipe beside the router calls function pods from this machine.
      ...(cluster.own
        ? [`networkPolicy.functions.extraIngress[0].from[0].ipBlock.cidr=${NETWORK.host}/32`]
        : []),
    ];
    printConditions("helm install to the first answer; images are on the node, one replica of each process");
    const beganMs = performance.now();
    const installed: InstalledPlatform = {
      ...(await installPlatform(cluster, { images, namespace: NAMESPACE, values })),
      functionNamespaceLabels: LABELS,
    };
    const readyMs = performance.now() - beganMs;
    const { deployedMs, answeredMs } = await firstAnswer(installed, beganMs);
    printTable([
      ["seconds since helm install", "measured", "target"],
      ["helm install --wait says ready", (readyMs / 1000).toFixed(1), ""],
      ["a first function is deployed", (deployedMs / 1000).toFixed(1), ""],
      ["it has answered its first call", (answeredMs / 1000).toFixed(1), "60 (npm start with installs)"],
    ]);
    printLoadAfter();
    const file = join(folder, "platform.json");
    writeFileSync(file, JSON.stringify(installed));
    return { file, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Labels a new namespace, deploys a function into it and calls it, as the documentation tells users to. */
async function firstAnswer(
  installed: InstalledPlatform,
  beganMs: number,
): Promise<{ deployedMs: number; answeredMs: number }> {
  const platform = await clusterTestPlatform(installed);
  const caller = timedCaller(1);
  try {
    await deploy(platform, { "hello.ts": 'export default () => new Response("Hello world\\n");\n' });
    const deployedMs = performance.now() - beganMs;
    const deadline = performance.now() + ANSWER_TIMEOUT_MS;
    while ((await caller.get(`${installed.routerUrl}/hello`)).status !== 200) {
      if (performance.now() > deadline) throw new Error("The function did not answer");
      await sleep(20);
    }
    return { deployedMs, answeredMs: performance.now() - beganMs };
  } finally {
    caller.close();
    await platform.stop();
  }
}

async function uninstall(cluster: Cluster, kube: KubeClient): Promise<void> {
  await uninstallPlatform(cluster, kube, NAMESPACE);
  for (const name of [NAMESPACE, `${NAMESPACE}-logs`]) {
    const deadline = performance.now() + GONE_TIMEOUT_MS;
    while ((await kube.find(NAMESPACES, { name })) !== undefined) {
      if (performance.now() > deadline) throw new Error(`Namespace "${name}" did not go away`);
      await sleep(200);
    }
  }
}
