import type { ChildProcess } from "node:child_process";
import type { Connection } from "../../net/local-connection.ts";
import type { InstalledPlatform } from "./installed-platform.ts";
import type { CliResult } from "./run-cli.ts";

export type CrashedPart = "router" | "controller";

/**
 * A platform for one test file: the real supervisor with its children, on free ports, in a folder of its own; or, where
 * ISOTOPE_TEST_CLUSTER names one, a namespace of its own on a cluster.
 */
export interface TestPlatform {
  readonly home: string;
  /** Where its functions are. */
  readonly namespace: string;
  readonly connection: Connection;
  /** Of a local platform. */
  readonly supervisor: ChildProcess;
  /** On a cluster. */
  readonly installed?: InstalledPlatform;
  /** Runs a command of the CLI in this process against the platform. */
  cli(
    args: string[],
    options?: { cwd?: string; stdin?: string; signal?: AbortSignal; onOut?: (text: string) => void },
  ): Promise<CliResult>;
  /** A call of the operations API, as the owner of the kubeconfig; a POST where there is a body. */
  ops(path: string, body?: unknown): Promise<{ status: number; text: string }>;
  /** GET on the public listener. */
  get(path: string, init?: RequestInit): Promise<Response>;
  /** Another router for the same functions than the one that `get` reaches, or may reach. */
  otherRouter(): Promise<{ url: string; stop(): void }>;
  /** Origins of the public listeners of all routers, each by itself. */
  routers(): Promise<string[]>;
  /** Kills (SIGKILL) a router, or the control plane that leads. Something starts it again. */
  crash(part: CrashedPart): Promise<void>;
  /** What the supervisor has said. */
  said(): string;
  /** Stops everything (SIGTERM) and, unless told to keep it, removes the home. */
  stop(options?: { keepHome?: boolean }): Promise<void>;
}
