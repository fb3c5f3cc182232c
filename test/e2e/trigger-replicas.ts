import { once } from "node:events";
import { Redis } from "ioredis";
import { createKubeClient } from "../../kube/client.ts";
import { loadKubeConnection } from "../../kube/connection.ts";
import { type Pod, PODS } from "../../kube/core.ts";
import { currentCluster } from "../cluster/cluster.ts";
import { podProcesses } from "../cluster/pod-processes.ts";
import { killEach } from "../kill-each.ts";
import type { InstalledPlatform } from "./installed-platform.ts";
import { processWith } from "./processes.ts";
import { platformRedis, startSecondTriggers } from "./second-triggers.ts";
import type { TestPlatform } from "./test-platform.ts";
import { until } from "../until.ts";

/** Two replicas of a platform's trigger service, which can be killed (SIGKILL). Something starts again what was there before. */
export interface TriggerReplicas {
  /** Resolves once both take messages of a test's triggers. */
  shared(): Promise<void>;
  /** Kills one of them, and Redis. */
  killOneAndRedis(): Promise<void>;
  killAll(): Promise<void>;
  stop(): Promise<void>;
}

/** Why replicas cannot be killed where the platform is; undefined = they can. */
export const killObstacle = (installed: boolean): string | undefined =>
  installed && !currentCluster().own
    ? "the processes of this cluster's pods are not on this machine"
    : undefined;

export const triggerReplicas = (platform: TestPlatform): Promise<TriggerReplicas> =>
  platform.installed ? replicasOfChart(platform, platform.installed) : replicasHere(platform);

/** The second is a process of its own beside the control plane, in which the first is. */
async function replicasHere(platform: TestPlatform): Promise<TriggerReplicas> {
  const second = await startSecondTriggers(platform);
  const redis = new Redis(platformRedis(platform), { retryStrategy: () => 100 });
  redis.on("error", () => undefined);
  const ended = once(second, "exit");
  return {
    shared: () =>
      until("both take messages", async () => {
        const names = await redis.keys("{ev:mqt}:lease:*");
        return new Set(await Promise.all(names.map((name) => redis.get(name)))).size === 2;
      }),
    killOneAndRedis: async () => {
      second.kill("SIGKILL");
      process.kill(processWith(`-server ${new URL(platformRedis(platform)).host}`), "SIGKILL");
      await ended;
    },
    killAll: async () => {
      second.kill("SIGKILL");
      await platform.crash("controller");
    },
    stop: async () => {
      redis.disconnect();
      second.kill("SIGKILL");
      await ended;
    },
  };
}

async function replicasOfChart(
  { namespace, connection }: TestPlatform,
  { platformNamespace }: InstalledPlatform,
): Promise<TriggerReplicas> {
  const { kubeconfig } = connection;
  const [kube, api] = await Promise.all([
    createKubeClient({ kubeconfig }),
    loadKubeConnection({ kubeconfig }),
  ]);
  const podsOf = async (component: string): Promise<Pod[]> => {
    const labelSelector = `app.kubernetes.io/name=isotope,app.kubernetes.io/component=${component}`;
    const { items } = await kube.list(PODS, { namespace: platformNamespace, labelSelector });
    return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  };
  const takesPart = async ({ metadata }: Pod): Promise<boolean> => {
    const path = `/api/v1/namespaces/${platformNamespace}/pods/${metadata.name}:8080/proxy/metrics`;
    const origin = new URL(api.server).origin;
    const reply = await api.dispatcher.request({ origin, path, method: "GET" });
    const lines = (await reply.body.text()).split("\n");
    return lines.some(
      (line) =>
        line.startsWith("isotope_triggers_source_connected{") &&
        line.includes(`namespace="${namespace}"`) &&
        line.endsWith(" 1"),
    );
  };
  const kill = (pods: readonly Pod[]): void => {
    const pids = pods.flatMap(({ metadata }) => podProcesses(metadata.uid ?? "none"));
    if (pods.length === 0 || pids.length < pods.length)
      throw new Error(
        `Not every pod to be killed has a process: ${pods.length} pods, ${pids.length} processes`,
      );
    killEach(pids);
  };
  return {
    shared: () =>
      until("both take messages", async () => {
        const pods = await podsOf("triggers");
        const taking = await Promise.all(pods.map((pod) => takesPart(pod).catch(() => false)));
        return pods.length > 1 && taking.every(Boolean);
      }),
    killOneAndRedis: async () =>
      kill([...(await podsOf("triggers")).slice(0, 1), ...(await podsOf("redis"))]),
    killAll: async () => kill(await podsOf("triggers")),
    stop: async () => {
      // Other tests go on with the same platform.
      await until("they are ready again", async () => {
        const pods = [...(await podsOf("triggers")), ...(await podsOf("redis"))];
        return pods.every(({ status }) =>
          status?.conditions?.some((one) => one.type === "Ready" && one.status === "True"),
        );
      });
      await kube.close();
      await api.dispatcher.destroy();
    },
  };
}
