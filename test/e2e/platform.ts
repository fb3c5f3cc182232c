import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { compileCacheFolder } from "../../net/compile-cache.ts";
import { CONNECTION_FILE, parseConnection } from "../../net/local-connection.ts";
import { clusterTestPlatform } from "./cluster-platform.ts";
import { callOps, localOps } from "./call-ops.ts";
import { freePortBase } from "./free-ports.ts";
import { installedPlatform } from "./installed-platform.ts";
import { processWith } from "./processes.ts";
import { runCli } from "./run-cli.ts";
import { startSecondRouter } from "./second-router.ts";
import type { TestPlatform } from "./test-platform.ts";

/** For tests of what only a local platform has: its processes, its files. */
export const onCluster = installedPlatform() !== undefined;

const ROOT = resolve(import.meta.dirname, "..", "..");
const START_TIMEOUT_MS = 120_000;

const exited = (child: ChildProcess): Promise<void> =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((done) => child.once("exit", () => done()));

/** Starts a platform. `home` reuses the state of an earlier one. */
export async function startTestPlatform(
  options: { home?: string; portBase?: number; deploy?: string; env?: Record<string, string> } = {},
): Promise<TestPlatform> {
  const installed = installedPlatform();
  if (installed) return clusterTestPlatform(installed, options);
  const home = options.home ?? mkdtempSync(join(tmpdir(), "isotope-e2e-"));
  const portBase = options.portBase ?? (await freePortBase());
  const args = [
    "--home",
    home,
    "--port-base",
    String(portBase),
    ...(options.deploy ? ["--deploy", options.deploy] : []),
  ];
  const cache = compileCacheFolder();
  const env = {
    ...(cache ? { NODE_COMPILE_CACHE: cache } : {}),
    ...process.env,
    ISOTOPE_STATE_DIR: join(home, "announced"),
    ...options.env,
  };
  const supervisor = spawn(
    process.execPath,
    [
      "--disable-warning=ExperimentalWarning",
      "--max-semi-space-size=1",
      join(ROOT, "local", "main.ts"),
      ...args,
    ],
    { cwd: home, env, stdio: ["ignore", "pipe", "pipe"] },
  );
  let said = "";
  supervisor.stdout.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
  supervisor.stderr.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
  const deadline = performance.now() + START_TIMEOUT_MS + (options.deploy ? 120_000 : 0);
  while (!said.includes("Isotope is ready")) {
    if (supervisor.exitCode !== null || performance.now() > deadline) {
      supervisor.kill("SIGKILL");
      throw new Error(`The platform did not start:\n${said}`);
    }
    await new Promise((done) => setTimeout(done, 25));
  }
  const connection = parseConnection(readFileSync(join(home, CONNECTION_FILE), "utf8"));
  if (!connection) throw new Error("The platform wrote no connection.json");
  return {
    home,
    namespace: "default",
    connection,
    supervisor,
    said: () => said,
    cli: (cliArgs, { cwd = home, stdin, signal, onOut } = {}) =>
      runCli([...cliArgs, "--home", home], { cwd, stdin, signal, onOut }),
    ops: (path, body) => callOps(localOps(connection), path, body),
    get: (path, init) => fetch(`${connection.routerUrl}${path}`, init),
    otherRouter: () => startSecondRouter({ connection, home }),
    routers: async () => [connection.routerUrl],
    crash: async (part) => {
      const words =
        part === "router"
          ? ["router/main", new URL(connection.routerUrl).port]
          : ["local/control-plane", home];
      process.kill(processWith(...words), "SIGKILL");
    },
    stop: async ({ keepHome = false } = {}) => {
      supervisor.kill("SIGTERM");
      await exited(supervisor);
      if (!keepHome) rmSync(home, { recursive: true, force: true });
    },
  };
}
