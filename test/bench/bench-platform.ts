import type { Connection } from "../../net/local-connection.ts";
import { installedPlatform } from "../e2e/installed-platform.ts";
import type { TestPlatform } from "../e2e/test-platform.ts";
import { startClusterBenchPlatform } from "./cluster-bench-platform.ts";
import { startLocalBenchPlatform } from "./local-bench-platform.ts";
import type { CpuTime } from "./process-usage.ts";

export type Part =
  | "supervisor"
  | "localkube"
  | "control plane"
  | "router"
  | "executor"
  | "controller"
  | "storage"
  | "log store"
  | "log collector"
  | "redis"
  | "definition host"
  | "process shim"
  | "function pod"
  | "builder pod";

export interface BenchProcess {
  readonly part: Part;
  readonly pid: number;
  readonly command: string;
  /** Uid of its pod. */
  readonly pod?: string | undefined;
}

/** What a pod is charged with, its own page cache included: what limits and evictions go by. */
export interface WorkingSet {
  readonly part: Part;
  readonly pod: string;
  readonly kib: number;
}

/**
 * A platform of a benchmark's own, and what its processes are: a local one on free ports; or, where ISOTOPE_TEST_CLUSTER names one, a
 * namespace on a cluster. There are no processes where the cluster's node is not this machine.
 */
export interface BenchPlatform extends Pick<TestPlatform, "home" | "namespace" | "cli" | "get" | "stop"> {
  readonly connection: Connection;
  readonly onCluster: boolean;
  /** The parts that are there before any function is. */
  readonly controlPlane: readonly Part[];
  processes(): Promise<BenchProcess[]>;
  /** The one process of a part. */
  pidOf(part: Part): Promise<number>;
  /** Processor time of the one process of a part since its start. */
  cpuOf(part: Part): Promise<CpuTime>;
  /** Pods of functions and of the pool. */
  functionPods(): Promise<number>;
  /** By pod; nothing on a local platform. */
  workingSets(): Promise<WorkingSet[]>;
  /** The executors' metrics as text. */
  executorMetrics(): Promise<string>;
  /** Resolves when the pool of the environment `deno` is full again. */
  poolFull(): Promise<void>;
  /** Deploys functions by file name; several at once build in turn. */
  deploy(files: Readonly<Record<string, string>>): Promise<string>;
}

export const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Starts a platform for a benchmark; stop it when done. */
export async function startBenchPlatform(home?: string): Promise<BenchPlatform> {
  const installed = installedPlatform();
  return installed ? startClusterBenchPlatform(installed) : startLocalBenchPlatform(home);
}
