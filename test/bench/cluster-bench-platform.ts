import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { LABEL_ENVIRONMENT, LABEL_POD_STATE } from "../../api/names.ts";
import { createKubeClient, type KubeClient } from "../../kube/client.ts";
import { type Pod, PODS, SECRETS } from "../../kube/core.ts";
import { clusterTestPlatform } from "../e2e/cluster-platform.ts";
import { procEntry } from "../proc-entry.ts";
import type { InstalledPlatform } from "../e2e/installed-platform.ts";
import { deploy } from "../e2e/project.ts";
import type { BenchPlatform, BenchProcess, Part, WorkingSet } from "./bench-platform.ts";
import { metricValue } from "./metric-value.ts";
import { cpuTime } from "./process-usage.ts";

const LABEL_COMPONENT = "app.kubernetes.io/component";
/** Parts by the label of their pods; in function namespaces `executor` stands for whose pods they are. */
const PLATFORM_PARTS: Readonly<Record<string, Part>> = {
  router: "router",
  executor: "executor",
  controller: "controller",
  storage: "storage",
  "log-store": "log store",
  "log-collector": "log collector",
  redis: "redis",
};
const FUNCTION_PARTS: Readonly<Record<string, Part>> = { executor: "function pod", builder: "builder pod" };
const METRICS_PORT = 8080;
/** The executor answers routers and Prometheus on one port. */
const EXECUTOR_PORT = 8892;
const POOL_SIZE = 3;
const POOL_TIMEOUT_MS = 120_000;
const POLL_MS = 100;
/** What follows a full pool (the last pod's status, labels, events) is over by then. */
const SETTLE_MS = 500;

/** Processes of this machine that run in pods, by the pod's uid; the container's own process is the one that serves. */
function processesByPod(uids: ReadonlySet<string>): { pid: number; command: string; pod: string }[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const pod = /\/pod([0-9a-f-]{36})\//.exec(procEntry(pid, "cgroup"))?.[1];
      if (pod === undefined || !uids.has(pod)) return [];
      const command = procEntry(pid, "cmdline").replaceAll("\0", " ").trim();
      return command === "" || command.includes("busybox") ? [] : [{ pid: Number(pid), command, pod }];
    });
}

const Summary = z.looseObject({
  pods: z.array(
    z.looseObject({
      podRef: z.looseObject({ uid: z.string() }),
      memory: z.looseObject({ workingSetBytes: z.number().optional() }).optional(),
    }),
  ),
});

/** A namespace of its own on an installed platform. */
export async function startClusterBenchPlatform(installed: InstalledPlatform): Promise<BenchPlatform> {
  const platform = await clusterTestPlatform(installed);
  const { home, namespace, connection, cli, get } = platform;
  const kube = await createKubeClient({ kubeconfig: connection.kubeconfig });
  // As a local platform has it, for functions that ask for a secret; nobody connects to it.
  await kube.create(SECRETS, {
    metadata: { namespace, name: "redis" },
    stringData: { url: "redis://unused.invalid:6379" },
  });
  const pods = (): Promise<Map<string, { part: Part; pod: Pod }>> =>
    podsByUid(kube, installed.platformNamespace, namespace);
  const processes = async (): Promise<BenchProcess[]> => {
    const known = await pods();
    return processesByPod(new Set(known.keys())).flatMap((process) => {
      const part = known.get(process.pod)?.part;
      return part === undefined ? [] : [{ ...process, part }];
    });
  };
  const podOf = async (part: Part): Promise<Pod> => {
    const found = [...(await pods()).values()].filter((one) => one.part === part);
    if (!found[0] || found[1]) throw new Error(`The platform runs ${found.length} pods of ${part}, not one`);
    return found[0].pod;
  };
  const pidOf = async (part: Part): Promise<number> => {
    const { uid } = (await podOf(part)).metadata;
    const found = processesByPod(new Set([uid ?? ""]))[0];
    if (!found) throw new Error(`The pod of ${part} does not run on this machine`);
    return found.pid;
  };
  const metrics = (pod: Pod): Promise<string> => readMetrics(kube, pod);
  return {
    home,
    namespace,
    connection,
    cli,
    get,
    onCluster: true,
    controlPlane: Object.values(PLATFORM_PARTS),
    processes,
    pidOf,
    cpuOf: async (part) => {
      const pod = await podOf(part);
      const [own] = processesByPod(new Set([pod.metadata.uid ?? ""]));
      if (own) return cpuTime(own.pid);
      // A foreign node tells the sum only.
      const userMs = metricValue(await metrics(pod), "process_cpu_seconds_total") * 1_000;
      return { userMs, systemMs: 0 };
    },
    functionPods: async () =>
      [...(await pods()).values()].filter(({ part }) => part === "function pod").length,
    workingSets: async () => workingSets(kube, await pods()),
    executorMetrics: async () => {
      const executors = [...(await pods()).values()].filter(({ part }) => part === "executor");
      return (await Promise.all(executors.map(({ pod }) => metrics(pod)))).join("\n");
    },
    deploy: (files) => deploy(platform, files),
    poolFull: async () => {
      const deadline = performance.now() + POOL_TIMEOUT_MS;
      while ((await readyGenericPods(kube, namespace)) < POOL_SIZE) {
        if (performance.now() > deadline) throw new Error("The pool did not become full");
        await sleep(POLL_MS);
      }
      await sleep(SETTLE_MS);
    },
    stop: async (options) => {
      await kube.close();
      await platform.stop(options);
    },
  };
}

async function podsByUid(
  kube: KubeClient,
  platformNamespace: string,
  namespace: string,
): Promise<Map<string, { part: Part; pod: Pod }>> {
  const found = new Map<string, { part: Part; pod: Pod }>();
  const add = async (from: string, parts: Readonly<Record<string, Part>>): Promise<void> => {
    for (const pod of (await kube.list(PODS, { namespace: from })).items) {
      const part = parts[pod.metadata.labels?.[LABEL_COMPONENT] ?? ""];
      if (part && pod.metadata.uid && !pod.metadata.deletionTimestamp)
        found.set(pod.metadata.uid, { part, pod });
    }
  };
  // The collectors have a namespace of their own, since they read a folder of the node.
  await add(platformNamespace, PLATFORM_PARTS);
  await add(`${platformNamespace}-logs`, PLATFORM_PARTS);
  await add(namespace, FUNCTION_PARTS);
  return found;
}

async function readMetrics(kube: KubeClient, pod: Pod): Promise<string> {
  const { namespace = "", name, labels } = pod.metadata;
  const port = labels?.[LABEL_COMPONENT] === "executor" ? EXECUTOR_PORT : METRICS_PORT;
  const stream = await kube.stream({
    method: "GET",
    path: `/api/v1/namespaces/${namespace}/pods/${name}:${port}/proxy/metrics`,
  });
  let text = "";
  for await (const chunk of stream.setEncoding("utf8")) text += chunk;
  return text;
}

async function readyGenericPods(kube: KubeClient, namespace: string): Promise<number> {
  const { items } = await kube.list(PODS, {
    namespace,
    labelSelector: `${LABEL_ENVIRONMENT}=deno,${LABEL_POD_STATE}=generic`,
  });
  return items.filter(
    ({ metadata, status }) =>
      !metadata.deletionTimestamp &&
      status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True"),
  ).length;
}

/** As the kubelets tell; their numbers are some ten seconds old. */
async function workingSets(
  kube: KubeClient,
  pods: ReadonlyMap<string, { part: Part; pod: Pod }>,
): Promise<WorkingSet[]> {
  const nodes = new Set([...pods.values()].flatMap(({ pod }) => pod.spec?.nodeName ?? []));
  const found: WorkingSet[] = [];
  for (const node of nodes) {
    const summary = Summary.parse(
      await kube.request({ method: "GET", path: `/api/v1/nodes/${node}/proxy/stats/summary` }),
    );
    for (const { podRef, memory } of summary.pods) {
      const part = pods.get(podRef.uid)?.part;
      if (part && memory?.workingSetBytes !== undefined)
        found.push({ part, pod: podRef.uid, kib: memory.workingSetBytes / 1024 });
    }
  }
  return found;
}
