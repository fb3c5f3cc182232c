import { setTimeout as sleep } from "node:timers/promises";
import { startTestPlatform } from "../e2e/platform.ts";
import { deploy } from "../e2e/project.ts";
import type { BenchPlatform, BenchProcess, Part } from "./bench-platform.ts";
import { metricValue } from "./metric-value.ts";
import { cpuTime, descendants, sharePriority } from "./process-usage.ts";

const PARTS: readonly [Part, RegExp][] = [
  ["localkube", /\/localkube\/main\./],
  ["control plane", /\/local\/control-plane\./],
  ["router", /\/engine\/router\/main\./],
  ["redis", /redis-server|valkey-server/],
  ["definition host", /workflows\/host\/program\./],
  ["process shim", /\/kubelet\/shim\/main\./],
  ["function pod", /env-images\/deno\/main\./],
  ["builder pod", /env-images\/builder\/main\./],
];
const POOL_TIMEOUT_MS = 30_000;
/** What follows a full pool (the last pod's status, labels, events) is over by then. */
const SETTLE_MS = 300;
const METRICS_PORT_OFFSET = 4;

/** A whole local platform with the real supervisor. */
export async function startLocalBenchPlatform(home?: string): Promise<BenchPlatform> {
  const platform = await startTestPlatform(home === undefined ? {} : { home });
  const processes = (): BenchProcess[] => [
    { part: "supervisor", pid: platform.supervisor.pid ?? 0, command: "local/main" },
    ...descendants(platform.supervisor.pid ?? 0).flatMap(({ pid, command }) => {
      const part = PARTS.find(([, pattern]) => pattern.test(command))?.[0];
      return part === undefined
        ? []
        : [{ part, pid, command, pod: /pods\/([0-9a-f-]{36})/.exec(command)?.[1] }];
    }),
  ];
  const pidOf = (part: Part): number => {
    const found = processes().find((process) => process.part === part);
    if (!found) throw new Error(`The platform runs no ${part}`);
    return found.pid;
  };
  const executorMetrics = async (): Promise<string> => {
    const port = Number(new URL(platform.connection.routerUrl).port) + METRICS_PORT_OFFSET;
    return (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  };
  return {
    ...platform,
    onCluster: false,
    controlPlane: ["supervisor", "localkube", "control plane", "router", "process shim", "redis"],
    processes: async () => processes(),
    pidOf: async (part) => pidOf(part),
    cpuOf: async (part) => cpuTime(pidOf(part)),
    functionPods: async () => processes().filter(({ part }) => part === "function pod").length,
    workingSets: async () => [],
    executorMetrics,
    deploy: (files) => deploy(platform, files),
    poolFull: async () => {
      const deadline = performance.now() + POOL_TIMEOUT_MS;
      while (metricValue(await executorMetrics(), "isotope_executor_pool_pods", 'state="ready"') < 3) {
        if (performance.now() > deadline) throw new Error("The pool did not become full");
        await sleep(50);
      }
      sharePriority(processes().map(({ pid }) => pid));
      await sleep(SETTLE_MS);
    },
  };
}
