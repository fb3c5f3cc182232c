import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Connection } from "../net/local-connection.ts";
import { type Child, superviseChild } from "./child.ts";
import {
  childSpec,
  compileCache,
  EXTENSION,
  HOST,
  passedOn,
  type Plan,
  type ProcessName,
  ROOT,
} from "./child-specs.ts";
import { denoBinary } from "../workflows/host/deno-binary.ts";
import { type Home, openHome, writeHomeFile } from "./home.ts";
import { imageTable } from "./image-table.ts";
import { kubernetesAnswers } from "./kubernetes-answers.ts";
import { lockHome } from "./lock.ts";
import { type Ports, portsFrom } from "./ports.ts";
import { portTaken, statusOf } from "./probe-port.ts";
import { findRedisServer } from "./redis.ts";
import { listRoutes, routeToTry } from "./route-to-try.ts";
import { runOnce } from "./run-once.ts";
import { announcePlatform } from "./running-platforms.ts";
import { waitFor } from "./wait-for.ts";

export interface PlatformSettings {
  home: string;
  portBase: number;
  deploy: string | undefined;
}

type Say = (line: string) => void;

const START_TIMEOUT_MS = 60_000;

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

/** Writes the files that processes read at their start. */
function writeImageTable(home: Home, ports: Ports): void {
  const programs = {
    root: ROOT,
    extension: EXTENSION,
    deno: denoBinary(),
    node: process.execPath,
    denoDir: join(home.root, "deno"),
    builderState: join(home.root, "builder"),
    buildEnv: {
      ...Object.fromEntries(
        Object.entries(passedOn()).filter(([name]) => name !== "HOME" && name !== "TMPDIR"),
      ),
      NODE_COMPILE_CACHE: compileCache(home),
    },
  };
  writeHomeFile(home.imageTable, `${JSON.stringify(imageTable(programs, ports), null, 2)}\n`);
}

/** Deploys a folder; a function that does not deploy is no reason not to run the others. */
async function deployFolder(folder: string, home: Home, signal: AbortSignal, say: Say): Promise<void> {
  say(`Deploying ${folder}`);
  try {
    await runOnce(
      "cli/main",
      ["deploy", folder, "--home", home.root],
      { NODE_COMPILE_CACHE: compileCache(home) },
      signal,
      (line) => {
        if (line.trim() && !/^ {2}[=+~] /.test(line)) say(line);
      },
    );
  } catch (error) {
    if (signal.aborted) throw error;
    say("Some functions are not ready; `npx isotope status` shows why");
  }
}

function ready(connection: Connection, hasRedis: boolean, path: string | undefined, say: Say): void {
  say("");
  say("Isotope is ready");
  say(`  functions    ${connection.routerUrl}`);
  say(`  operations   ${connection.opsUrl}`);
  say(`  kubectl      KUBECONFIG=${connection.kubeconfig}`);
  if (!hasRedis)
    say(
      "  redis        none: events and workflows answer 503 until redis-server is installed (apt-get or brew install redis)",
    );
  say("");
  if (path !== undefined) say(`Try  curl ${connection.routerUrl}${path}`);
  else if (existsSync(join(process.cwd(), "functions"))) say("Deploy this folder with  npx isotope deploy");
  else say("No function is deployed yet. Begin one with  npx isotope init my-app");
}

/** A running local platform. */
export interface Platform {
  connection: Connection;
  /** Resolves when `stopping` has fired and everything has ended. */
  stopped: Promise<void>;
}

async function stopWhen(stopping: AbortSignal, ...steps: (() => void | Promise<void>)[]): Promise<void> {
  if (!stopping.aborted) await once(stopping, "abort");
  for (const step of steps) await step();
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
    const start = (name: ProcessName): void => {
      const child = superviseChild(childSpec(name, plan), (process, how) =>
        say(`${process} ${how} and is started again; see ${join(home.processLogs, `${process}.log`)}`),
      );
      started.push(child);
      child.start();
    };
    const answers = (name: ProcessName, port: number, path: string): Promise<void> =>
      waitFor(
        `${name} (log: ${join(home.processLogs, `${name}.log`)})`,
        START_TIMEOUT_MS,
        async () => (await statusOf(port, path)) === 200,
        stopping,
      );
    if (redisServer) start("redis");
    start("localkube");
    start("control-plane");
    await waitFor(
      `localkube (log: ${join(home.processLogs, "localkube.log")})`,
      START_TIMEOUT_MS,
      () => kubernetesAnswers(home, ports),
      stopping,
    );
    start("router");
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
    ready(connection, redisServer !== undefined, routeToTry(await listRoutes(home.kubeconfig)), say);
    return { connection, stopped: stopWhen(stopping, withdraw, stopAll) };
  } catch (error) {
    await stopAll();
    throw error;
  }
}
