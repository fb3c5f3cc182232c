import { startTestPlatform } from "../e2e/platform.ts";
import { deploy } from "../e2e/project.ts";
import type { TestPlatform } from "../e2e/test-platform.ts";
import { descendants, sharePriority } from "./process-usage.ts";

export type Part =
  | "supervisor"
  | "localkube"
  | "control plane"
  | "router"
  | "redis"
  | "process shim"
  | "function pod"
  | "builder pod";

/** A platform of a benchmark's own, on free ports, and what its processes are. */
export interface BenchPlatform extends TestPlatform {
  /** Processes by what they are. */
  processes(): { part: Part; pid: number; command: string }[];
  /** The one process of a part. */
  pidOf(part: Part): number;
  /** Resolves when the pool of the environment `deno` is full again. */
  poolFull(): Promise<void>;
  /** Deploys functions by file name; several at once build in turn. */
  deploy(files: Readonly<Record<string, string>>): Promise<string>;
}

const PARTS: readonly [Part, RegExp][] = [
  ["localkube", /\/localkube\/main\./],
  ["control plane", /\/local\/control-plane\./],
  ["router", /\/engine\/router\/main\./],
  ["redis", /redis-server/],
  ["process shim", /\/kubelet\/shim\/main\./],
  ["function pod", /env-images\/deno\/main\./],
  ["builder pod", /env-images\/builder\/main\./],
];
const POOL_TIMEOUT_MS = 30_000;
/** What follows a full pool (the last pod's status, labels, events) is over by then. */
const SETTLE_MS = 300;

export const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Sum of a metric's series whose labels contain `label`. */
export function metricValue(text: string, name: string, label = ""): number {
  return text
    .split("\n")
    .filter((line) => line.startsWith(name) && /[{ ]/.test(line[name.length] ?? "") && line.includes(label))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

/** The executor's metrics as text. */
export async function executorMetrics(platform: TestPlatform): Promise<string> {
  const port = Number(new URL(platform.connection.routerUrl).port) + 4;
  return (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
}

/** Starts a platform for a benchmark; stop it when done. */
export async function startBenchPlatform(home?: string): Promise<BenchPlatform> {
  const platform = await startTestPlatform(home === undefined ? {} : { home });
  const processes = (): ReturnType<BenchPlatform["processes"]> => [
    { part: "supervisor", pid: platform.supervisor.pid ?? 0, command: "local/main" },
    ...descendants(platform.supervisor.pid ?? 0).flatMap(({ pid, command }) => {
      const part = PARTS.find(([, pattern]) => pattern.test(command))?.[0];
      return part === undefined ? [] : [{ part, pid, command }];
    }),
  ];
  return {
    ...platform,
    processes,
    pidOf: (part) => {
      const found = processes().find((process) => process.part === part);
      if (!found) throw new Error(`The platform runs no ${part}`);
      return found.pid;
    },
    deploy: (files) => deploy(platform, files),
    poolFull: async () => {
      const deadline = performance.now() + POOL_TIMEOUT_MS;
      while (
        metricValue(await executorMetrics(platform), "isotope_executor_pool_pods", 'state="ready"') < 3
      ) {
        if (performance.now() > deadline) throw new Error("The pool did not become full");
        await sleep(50);
      }
      sharePriority(processes().map(({ pid }) => pid));
      await sleep(SETTLE_MS);
    },
  };
}
