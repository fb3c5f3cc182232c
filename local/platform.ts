import { spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import type { Connection } from "../net/local-connection.ts";
import { type Child, type ChildSpec, superviseChild } from "./child.ts";
import { type Home, openHome, type Secrets, writeHomeFile } from "./home.ts";
import { imageTable } from "./image-table.ts";
import { lockHome } from "./lock.ts";
import { type Ports, portsFrom } from "./ports.ts";
import { portTaken, statusOf } from "./probe-port.ts";
import { findRedisServer, functionsRedisUrl, redisUrl, writeRedisConfig } from "./redis.ts";
import { announcePlatform } from "./running-platforms.ts";
import { waitFor } from "./wait-for.ts";

export interface PlatformSettings {
  home: string;
  portBase: number;
  deploy: string | undefined;
}

type Say = (line: string) => void;

const ROOT = resolve(import.meta.dirname, "..");
const EXTENSION = import.meta.filename.endsWith(".ts") ? "ts" : "js";
const modulePath = (path: string): string => join(ROOT, `${path}.${EXTENSION}`);
const NODE_FLAGS = ["--disable-warning=ExperimentalWarning"];
const START_TIMEOUT_MS = 60_000;
const GRACE_MS = 35_000;
const HOST = "127.0.0.1";

const SYSTEM_VARIABLES = ["PATH", "HOME", "TMPDIR", "LANG", "TZ", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"];
const NETWORK_VARIABLES = /^((https?|no)_proxy|npm_config_.*)$/i;

/** The variables of this process that its children need: what the system and package managers read, nothing else. */
function passedOn(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && (SYSTEM_VARIABLES.includes(name) || NETWORK_VARIABLES.test(name)))
      env[name] = value;
  }
  return env;
}

/** The Deno that comes with the packages. */
function denoBinary(): string {
  const manifest = createRequire(import.meta.url).resolve("deno/package.json");
  for (let folder = dirname(manifest); folder !== dirname(folder); folder = dirname(folder)) {
    const candidate = join(folder, ".bin", "deno");
    if (existsSync(candidate)) return candidate;
  }
  return join(dirname(manifest), "bin.cjs");
}

interface Plan {
  home: Home;
  secrets: Secrets;
  ports: Ports;
  redisServer: string | undefined;
}

type Name = "redis" | "localkube" | "control-plane" | "router";

/** The platform's processes. */
function childSpec(name: Name, { home, secrets, ports, redisServer }: Plan): ChildSpec {
  const env = passedOn();
  const common = { name, logFile: join(home.processLogs, `${name}.log`), graceMs: GRACE_MS };
  const node = (file: string, args: (string | number)[], extra: Record<string, string> = {}): ChildSpec => ({
    ...common,
    command: process.execPath,
    args: [...NODE_FLAGS, modulePath(file), ...args.map(String)],
    // Compiled code is kept, so that the next start need not compile again.
    env: { ...env, NODE_COMPILE_CACHE: join(home.root, "cache"), ...extra },
  });
  const url = (port: number): string => `http://${HOST}:${port}`;
  switch (name) {
    case "redis":
      return {
        ...common,
        command: redisServer ?? "",
        args: [writeRedisConfig(home, secrets, ports.redis)],
        env,
      };
    case "localkube":
      return node("localkube/main", [
        "--data-dir",
        home.localkube,
        "--port",
        ports.kubernetes,
        "--kubeconfig-out",
        home.kubeconfig,
        "--crd-dir",
        join(ROOT, "charts", "isotope", "crds"),
        "--images",
        home.imageTable,
        "--parent-pid",
        process.pid,
      ]);
    case "control-plane":
      return node(
        "local/control-plane",
        ["--home", home.root, "--port-base", ports.router],
        redisServer ? { ISOTOPE_REDIS_URL: redisUrl(secrets, ports.redis) } : {},
      );
    case "router":
      return node("engine/router/main", [
        "--kubeconfig",
        home.kubeconfig,
        "--port",
        ports.router,
        "--internal-port",
        ports.routerInternal,
        "--metrics-port",
        ports.routerMetrics,
        "--executor-url",
        url(ports.executor),
        "--internal-key-file",
        home.internalKey,
      ]);
  }
}

async function refuseTakenPorts(ports: Ports): Promise<void> {
  const taken = await Promise.all(
    Object.values(ports).map(async (port: number) => ((await portTaken(port)) ? [port] : [])),
  );
  const numbers = taken.flat();
  if (numbers.length > 0)
    throw new Error(
      `Cannot start: port ${numbers.join(", ")} is in use already; choose other ports with --port-base`,
    );
}

/** Runs a program of the platform once. @throws {Error} with its output, when it fails. */
async function runOnce(
  file: string,
  args: string[],
  env: Record<string, string>,
  signal: AbortSignal,
  onLine: Say,
): Promise<void> {
  const child = spawn(process.execPath, [...NODE_FLAGS, modulePath(file), ...args], {
    env: { ...passedOn(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
    signal,
  });
  let output = "";
  let rest = "";
  const read = (chunk: Buffer): void => {
    output = (output + chunk.toString("utf8")).slice(-8192);
    const lines = (rest + chunk.toString("utf8")).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  };
  child.stdout.on("data", read);
  child.stderr.on("data", read);
  const code = await new Promise<number>((done, fail) => {
    child.once("exit", (status) => done(status ?? 1));
    child.once("error", fail);
  });
  if (code !== 0) throw new Error(`${file} failed: ${output.trim()}`);
}

/** Writes the files that processes read at their start. */
function writeImageTable(home: Home, ports: Ports): void {
  const programs = {
    root: ROOT,
    extension: EXTENSION,
    deno: denoBinary(),
    node: process.execPath,
    denoDir: join(home.root, "deno"),
    builderState: join(home.root, "builder"),
    buildEnv: Object.fromEntries(
      Object.entries(passedOn()).filter(([name]) => name !== "HOME" && name !== "TMPDIR"),
    ),
  };
  writeHomeFile(home.imageTable, `${JSON.stringify(imageTable(programs, ports), null, 2)}\n`);
}

/** Deploys a folder; a function that does not deploy is no reason not to run the others. */
async function deployFolder(folder: string, home: Home, signal: AbortSignal, say: Say): Promise<void> {
  say(`Deploying ${folder}`);
  try {
    await runOnce("cli/main", ["deploy", folder, "--home", home.root], {}, signal, (line) => {
      if (line.trim() && !/^ {2}[=+~] /.test(line)) say(line);
    });
  } catch (error) {
    if (signal.aborted) throw error;
    say("Some functions are not ready; `npx isotope status` shows why");
  }
}

function ready(connection: Connection, hasRedis: boolean, say: Say): void {
  say("");
  say("Isotope is ready");
  say(`  functions    ${connection.routerUrl}`);
  say(`  operations   ${connection.opsUrl}`);
  say(`  kubectl      KUBECONFIG=${connection.kubeconfig}`);
  if (!hasRedis)
    say(
      "  redis        none: queues and workflows answer 503 until redis-server is installed (apt-get or brew install redis)",
    );
  say("");
  say(`Try  curl ${connection.routerUrl}/hello`);
}

/** A running local platform. */
export interface Platform {
  connection: Connection;
  /** Resolves when `stopping` has fired and everything has ended. */
  stopped: Promise<void>;
}

/**
 * Starts everything in order and resolves when it is ready. What was started is stopped again when something fails.
 * @throws {Error} naming what did not start, and the log that says why.
 */
export async function startPlatform(
  settings: PlatformSettings,
  say: Say,
  stopping: AbortSignal,
): Promise<Platform> {
  const ports = portsFrom(settings.portBase);
  const { home, secrets } = openHome(settings.home);
  const unlock = lockHome(home.lock);
  const started: Child[] = [];
  const stopAll = async (): Promise<void> => {
    rmSync(home.connection, { force: true });
    // Last started, first stopped: the router finishes its requests while their pods still run.
    for (const child of started.toReversed()) await child.stop();
    unlock();
  };
  try {
    await refuseTakenPorts(ports);
    const redisServer = findRedisServer();
    const plan: Plan = { home, secrets, ports, redisServer };
    writeImageTable(home, ports);
    const start = (name: Name): void => {
      const child = superviseChild(childSpec(name, plan), (process, how) =>
        say(`${process} ${how} and is started again; see ${join(home.processLogs, `${process}.log`)}`),
      );
      started.push(child);
      child.start();
    };
    const answers = (name: Name, port: number, path: string): Promise<void> =>
      waitFor(
        `${name} (log: ${join(home.processLogs, `${name}.log`)})`,
        START_TIMEOUT_MS,
        async () => (await statusOf(port, path)) === 200,
        stopping,
      );
    if (redisServer) start("redis");
    start("localkube");
    await waitFor(
      `localkube (log: ${join(home.processLogs, "localkube.log")})`,
      START_TIMEOUT_MS,
      async () => existsSync(home.kubeconfig) && (await portTaken(ports.kubernetes)),
      stopping,
    );
    start("control-plane");
    start("router");
    await runOnce(
      "local/bootstrap",
      [home.kubeconfig],
      redisServer ? { ISOTOPE_FUNCTIONS_REDIS_URL: functionsRedisUrl(secrets, ports.redis) } : {},
      stopping,
      () => undefined,
    );
    await Promise.all([
      answers("control-plane", ports.ops, "/readyz"),
      answers("router", ports.router, "/readyz"),
    ]);
    const connection: Connection = {
      home: home.root,
      kubeconfig: home.kubeconfig,
      routerUrl: `http://${HOST}:${ports.router}`,
      routerInternalUrl: `http://${HOST}:${ports.routerInternal}`,
      opsUrl: `http://${HOST}:${ports.ops}`,
      pid: process.pid,
    };
    writeHomeFile(home.connection, `${JSON.stringify(connection, null, 2)}\n`);
    const withdraw = announcePlatform(connection);
    if (settings.deploy) await deployFolder(settings.deploy, home, stopping, say);
    ready(connection, redisServer !== undefined, say);
    const stopped = new Promise<void>((done) => {
      if (stopping.aborted) done();
      else stopping.addEventListener("abort", () => done(), { once: true });
    }).then(async () => {
      withdraw();
      await stopAll();
    });
    return { connection, stopped };
  } catch (error) {
    await stopAll();
    throw error;
  }
}
