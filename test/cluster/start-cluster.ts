import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { applyManifests, manifest } from "./apply-manifests.ts";
import { makeCertificates } from "./certificates.ts";
import {
  addOnDaemons,
  apiServer,
  METRICS_PORT,
  nodeAndControllers,
  POLICY_QUEUE,
  storeAndRuntime,
} from "./components.ts";
import { DNS_ADDRESS, writeConfiguration } from "./configuration.ts";
import { endedDaemons, logTail, startDaemon } from "./daemons.ts";
import { COREDNS_IMAGE, importOwnImages } from "./images.ts";
import { type Layout, NETWORK, NODE_NAME, PAUSE_IMAGE } from "./layout.ts";
import { makeCgroups, recordSystemFolders } from "./leftovers.ts";
import { makeNetwork, queuePodTraffic } from "./network.ts";

const START_TIMEOUT_MS = 120_000;
const POLL_MS = 100;
const YEAR_S = 365 * 24 * 3600;

const Conditioned = z.looseObject({
  status: z.looseObject({
    conditions: z.array(z.looseObject({ type: z.string(), status: z.string() })).default([]),
  }),
});

/** Waits until `check` says so; fails at once when a part of the cluster ends, with what it wrote last. */
async function until(state: string, what: string, check: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  let last = "";
  for (;;) {
    try {
      if (await check()) return;
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    const [ended] = endedDaemons(state);
    if (ended !== undefined)
      throw new Error(`Cannot start the test cluster: ${ended} ended:\n${logTail(state, ended)}`);
    if (Date.now() > deadline)
      throw new Error(
        `Cannot start the test cluster: ${what} did not come up in ${START_TIMEOUT_MS / 1000} s; logs are in ${state}: ${last}`,
      );
    await sleep(POLL_MS);
  }
}

/** Whether an object has a condition that holds. */
export async function holds(client: KubeClient, path: string, type: string): Promise<boolean> {
  const { status } = Conditioned.parse(await client.request({ method: "GET", path }));
  return status.conditions.some((condition) => condition.type === type && condition.status === "True");
}

const NODE = `/api/v1/nodes/${NODE_NAME}`;

/** Whether the cluster answers and its node is ready. */
export async function isHealthy(layout: Layout): Promise<boolean> {
  if (!existsSync(layout.kubeconfig) || endedDaemons(layout.state).length > 0) return false;
  const client = await createKubeClient({ kubeconfig: layout.kubeconfig });
  try {
    return await holds(client, NODE, "Ready");
  } catch {
    return false;
  } finally {
    await client.close();
  }
}

/** Starts everything on an empty state; a few seconds once the binaries are there. */
export async function startCluster(layout: Layout, bin: string, log: (line: string) => void): Promise<void> {
  const { state } = layout;
  mkdirSync(state, { recursive: true, mode: 0o711 });
  recordSystemFolders(state);
  makeCgroups();
  await makeNetwork();
  await makeCertificates(layout);
  writeConfiguration(layout);
  for (const daemon of storeAndRuntime(layout, bin)) startDaemon(state, daemon);
  startDaemon(state, apiServer(layout, bin));
  await until(state, "containerd", () => existsSync(layout.containerdSocket));
  await importOwnImages(layout, bin);
  const client = await createKubeClient({ kubeconfig: layout.kubeconfig });
  try {
    await until(state, "the API server", async () => {
      const { body } = await client
        .stream({ method: "GET", path: "/readyz" })
        .then((stream) => textOf(stream));
      return body === "ok";
    });
    for (const daemon of nodeAndControllers(layout, bin)) startDaemon(state, daemon);
    log("Kubernetes answers; starting DNS, metrics, network policies, storage");
    await startAddOns(client, layout, bin);
    await until(state, "the node", () => holds(client, NODE, "Ready"));
    await until(state, "DNS", () =>
      holds(client, "/apis/apps/v1/namespaces/kube-system/deployments/coredns", "Available"),
    );
    await until(state, "the metrics API", () =>
      holds(client, "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io", "Available"),
    );
  } finally {
    await client.close();
  }
}

async function textOf(stream: AsyncIterable<Buffer | string>): Promise<{ body: string }> {
  let body = "";
  for await (const chunk of stream) body += chunk.toString();
  return { body };
}

async function startAddOns(client: KubeClient, layout: Layout, bin: string): Promise<void> {
  const { state, pki } = layout;
  const values = { NODE: NETWORK.node, STATE: state, DNS_ADDRESS, METRICS_PORT, COREDNS_IMAGE, PAUSE_IMAGE };
  for (const name of ["dns.yaml", "metrics.yaml", "policies.yaml", "storage.yaml"])
    await applyManifests(client, manifest(name), values);
  const token = z.looseObject({ status: z.looseObject({ token: z.string() }) }).parse(
    await client.request({
      method: "POST",
      path: "/api/v1/namespaces/kube-system/serviceaccounts/network-policies/token",
      body: { spec: { expirationSeconds: YEAR_S } },
    }),
  );
  const folder = join(state, "policies");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "token"), token.status.token, { mode: 0o600 });
  writeFileSync(join(folder, "ca.crt"), readFileSync(join(pki, "ca.crt")));
  mkdirSync(join(state, "storage"), { recursive: true });
  const storage = z
    .looseObject({ data: z.looseObject({ "config.json": z.string(), "helperPod.yaml": z.string() }) })
    .parse(
      await client.request({
        method: "GET",
        path: "/api/v1/namespaces/local-path-storage/configmaps/local-path-config",
      }),
    );
  writeFileSync(join(state, "storage", "config.json"), storage.data["config.json"]);
  writeFileSync(join(state, "storage", "helper.yaml"), storage.data["helperPod.yaml"]);
  for (const daemon of addOnDaemons(layout, bin, folder)) startDaemon(state, daemon);
  await queuePodTraffic(POLICY_QUEUE);
}
