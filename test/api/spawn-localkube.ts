import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const MAIN = resolve(import.meta.dirname, "../../localkube/main.ts");
const START_TIMEOUT_MS = 60_000;

/** A localkube in a process of its own, on a free port. */
export interface SpawnedLocalkube {
  kubeconfig: string;
  pid: number;
  /** Ends the process at once, as a crash would. */
  crash(): Promise<void>;
  /** Starts it again on the same state. */
  start(): Promise<void>;
  /** Ends it and removes its state. */
  stop(): Promise<void>;
}

/** Starts one with an empty state; `args` go to it as they are. */
export async function spawnLocalkube(args: readonly string[] = ["--api-only"]): Promise<SpawnedLocalkube> {
  const directory = mkdtempSync(join(tmpdir(), "localkube-"));
  const kubeconfig = join(directory, "kubeconfig");
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    const started = spawn(
      process.execPath,
      [
        "--disable-warning=ExperimentalWarning",
        MAIN,
        "--data-dir",
        directory,
        "--port",
        "0",
        "--kubeconfig-out",
        kubeconfig,
        ...args,
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    child = started;
    let output = "";
    const { promise, resolve: ready, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(
      () => reject(new Error(`localkube was not ready in time:\n${output}`)),
      START_TIMEOUT_MS,
    );
    for (const stream of [started.stdout, started.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
        if (output.includes("is ready at")) ready();
      });
    }
    started.on("exit", (code) => reject(new Error(`localkube ended with code ${code}:\n${output}`)));
    await promise.finally(() => clearTimeout(timer));
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const ending = child;
    if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
    await new Promise<void>((done) => {
      ending.once("exit", () => done());
      ending.kill(signal);
    });
  };
  try {
    await start();
  } catch (error) {
    await end("SIGKILL");
    throw error;
  }
  return {
    kubeconfig,
    get pid() {
      return child?.pid ?? 0;
    },
    crash: () => end("SIGKILL"),
    start,
    stop: async () => {
      await end("SIGTERM");
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
