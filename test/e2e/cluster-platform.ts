import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { z } from "zod";
import { clusterOps } from "../../cli/cluster-ops.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { loadKubeConnection } from "../../kube/connection.ts";
import { LEASES, type Pod, PODS } from "../../kube/core.ts";
import { ENVIRONMENTS } from "../../kube/kinds.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import { currentCluster } from "../cluster/cluster.ts";
import { podProcesses } from "../cluster/pod-processes.ts";
import { killEach } from "../kill-each.ts";
import { callOps } from "./call-ops.ts";
import type { InstalledPlatform } from "./installed-platform.ts";
import { runCli } from "./run-cli.ts";
import type { CrashedPart, TestPlatform } from "./test-platform.ts";

const READY_TIMEOUT_MS = 120_000;
const POLL_MS = 200;

const until = async (what: string, timeoutMs: number, done: () => Promise<boolean>): Promise<void> => {
  const deadline = performance.now() + timeoutMs;
  while (!(await done())) {
    if (performance.now() > deadline) throw new Error(`Timed out: ${what}`);
    await new Promise((go) => setTimeout(go, POLL_MS));
  }
};

/** The installed platform, with a namespace of the test's own in which the CLI and the kubeconfig work by default. */
export async function clusterTestPlatform(
  installed: InstalledPlatform,
  options: { deploy?: string; env?: Record<string, string> } = {},
): Promise<TestPlatform> {
  const home = mkdtempSync(join(tmpdir(), "isotope-e2e-"));
  const namespace = `e2e-${randomBytes(4).toString("hex")}`;
  const kubeconfig = join(home, "kubeconfig");
  writeFileSync(kubeconfig, withNamespace(readFileSync(installed.kubeconfig, "utf8"), namespace));
  const kube = await createKubeClient({ kubeconfig });
  await kube.create(NAMESPACES, {
    metadata: { name: namespace, labels: installed.functionNamespaceLabels },
  });
  const env = {
    ...process.env,
    ISOTOPE_PLATFORM_NAMESPACE: installed.platformNamespace,
    ISOTOPE_ROUTER_URL: installed.routerUrl,
    ...options.env,
  };
  const ops = loadKubeConnection({ kubeconfig }).then((connection) =>
    clusterOps(connection, installed.platformNamespace),
  );
  const platform: TestPlatform = {
    home,
    namespace,
    installed,
    connection: {
      home,
      kubeconfig,
      routerUrl: installed.routerUrl,
      routerInternalUrl: "",
      opsUrl: "",
      pid: process.pid,
    },
    get supervisor(): never {
      throw new Error("A platform on a cluster has no supervisor");
    },
    said: () => "",
    cli: (args, { cwd = home, stdin, signal, onOut } = {}) =>
      runCli([...args, "--kubeconfig", kubeconfig], { cwd, stdin, signal, onOut, env }),
    ops: async (path, body) => callOps(await ops, path, body),
    get: (path, init) => fetch(`${installed.routerUrl}${path}`, init),
    otherRouter: async () => {
      const [url] = await routers(kube, installed);
      if (url === undefined) throw new Error(`No router runs in namespace "${installed.platformNamespace}"`);
      return { url, stop: () => undefined };
    },
    routers: () => routers(kube, installed),
    crash: (part) => crash(kube, installed, part),
    stop: async () => {
      // It goes within half a minute; nobody has to wait for that.
      await kube.delete(NAMESPACES, { name: namespace });
      await kube.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
  await until(`namespace "${namespace}" has its environment`, READY_TIMEOUT_MS, async () => {
    return (await kube.find(ENVIRONMENTS, { name: "deno", namespace })) !== undefined;
  });
  if (options.deploy) {
    const { code, out, err } = await platform.cli(["deploy", options.deploy]);
    if (code !== 0) throw new Error(`deploy ended with ${code}:\n${out}\n${err}`);
  }
  return platform;
}

/** Those that are ready. */
const podsOf = async (
  kube: KubeClient,
  { platformNamespace: namespace }: InstalledPlatform,
  component: CrashedPart,
): Promise<Pod[]> => {
  const labelSelector = `app.kubernetes.io/name=isotope,app.kubernetes.io/component=${component}`;
  const { items } = await kube.list(PODS, { namespace, labelSelector });
  return items.filter(
    ({ metadata, status }) =>
      metadata.deletionTimestamp === undefined &&
      status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True"),
  );
};

/** The pods' own addresses, so that a test can tell routers apart. */
async function routers(kube: KubeClient, installed: InstalledPlatform): Promise<string[]> {
  const pods = await podsOf(kube, installed, "router");
  return pods.flatMap(({ status }) => (status?.podIP === undefined ? [] : [`http://${status.podIP}:8888`]));
}

/** On this machine's own node the processes are killed, which leaves the pod; elsewhere the pod goes without notice. */
async function crash(kube: KubeClient, installed: InstalledPlatform, part: CrashedPart): Promise<void> {
  const namespace = installed.platformNamespace;
  const lease = await kube.get(LEASES, { namespace, name: "isotope-controller" });
  const leads = ({ metadata }: Pod): boolean =>
    lease.spec?.holderIdentity?.startsWith(`${metadata.name}-`) === true;
  const pod = (await podsOf(kube, installed, part)).find((each) => part === "router" || leads(each));
  if (!pod) throw new Error(`No ${part} runs in namespace "${namespace}"`);
  if (!currentCluster().own) {
    await kube.delete(PODS, pod.metadata, { gracePeriodSeconds: 0 });
    return;
  }
  const pids = podProcesses(pod.metadata.uid ?? "");
  if (pids.length === 0) throw new Error(`Pod "${pod.metadata.name}" has no process on this machine`);
  killEach(pids);
}

function withNamespace(kubeconfig: string, namespace: string): string {
  const Kubeconfig = z.looseObject({
    contexts: z.array(z.looseObject({ context: z.looseObject({}) })),
  });
  const config = Kubeconfig.parse(parse(kubeconfig));
  const contexts = config.contexts.map((entry) => ({ ...entry, context: { ...entry.context, namespace } }));
  return stringify({ ...config, contexts });
}
