import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { z } from "zod";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { PODS } from "../../kube/core.ts";
import { ENVIRONMENTS } from "../../kube/kinds.ts";
import { NAMESPACES } from "../../kube/namespace-scope.ts";
import type { InstalledPlatform } from "./installed-platform.ts";
import { runCli } from "./run-cli.ts";
import type { TestPlatform } from "./test-platform.ts";

const ROUTERS = "app.kubernetes.io/name=isotope,app.kubernetes.io/component=router";
const READY_TIMEOUT_MS = 120_000;
const GONE_TIMEOUT_MS = 170_000;
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
    get: (path, init) => fetch(`${installed.routerUrl}${path}`, init),
    otherRouter: () => otherRouter(kube, installed),
    stop: async () => {
      await kube.delete(NAMESPACES, { name: namespace });
      await until(`namespace "${namespace}" is gone`, GONE_TIMEOUT_MS, async () => {
        return (await kube.find(NAMESPACES, { name: namespace })) === undefined;
      });
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

/** A pod's own address of one router, so that a test can tell routers apart. */
async function otherRouter(
  kube: KubeClient,
  installed: InstalledPlatform,
): Promise<{ url: string; stop(): void }> {
  const { items } = await kube.list(PODS, {
    namespace: installed.platformNamespace,
    labelSelector: ROUTERS,
  });
  const Running = z.object({ status: z.object({ podIP: z.string(), phase: z.literal("Running") }) });
  const pod = items.map((item) => Running.safeParse(item).data).find((item) => item !== undefined);
  if (!pod) throw new Error(`No router runs in namespace "${installed.platformNamespace}"`);
  return { url: `http://${pod.status.podIP}:8888`, stop: () => undefined };
}

function withNamespace(kubeconfig: string, namespace: string): string {
  const Kubeconfig = z.looseObject({
    contexts: z.array(z.looseObject({ context: z.looseObject({}) })),
  });
  const config = Kubeconfig.parse(parse(kubeconfig));
  const contexts = config.contexts.map((entry) => ({ ...entry, context: { ...entry.context, namespace } }));
  return stringify({ ...config, contexts });
}
