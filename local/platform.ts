import { existsSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join, resolve } from "node:path";
import type { Connection } from "../net/local-connection.ts";
import { bootstrapObjects } from "./bootstrap.ts";
import { type Child, type ChildSpec, superviseChild } from "./child.ts";
import { deployFolder } from "./deploy-folder.ts";
import { type Home, lockAndOpenHome, type Secrets, writeHomeFile } from "./home.ts";
import { imageTable } from "./image-table.ts";
import { type Ports, portsFrom } from "./ports.ts";
import { findRedisServer, redisUrl, writeRedisConfig } from "./redis.ts";
import { announcePlatform } from "./running-platforms.ts";
import { waitFor } from "./wait-for.ts";

export interface PlatformSettings {
  home: string;
  portBase: number;
  deploy: string | undefined;
}

export interface Platform {
  connection: Connection;
  /** Resolves when everything has ended. */
  stopped: Promise<void>;
}

type Say = (line: string) => void;

const ROOT = resolve(import.meta.dirname, "..");
const EXTENSION = import.meta.filename.endsWith(".ts") ? "ts" : "js";
const module = (path: string): string => join(ROOT, `${path}.${EXTENSION}`);
const START_TIMEOUT_MS = 60_000;

const PASSED_ON = ["PATH", "HOME", "TMPDIR", "LANG", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"];

/** The environment of the platform's processes: what the system needs, package manager settings for builds, nothing else. */
function processEnvironment(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && (PASSED_ON.includes(name) || name.toLowerCase().startsWith("npm_config_"))) env[name] = value;
  }
  return env;
}

interface Plan {
  home: Home;
  secrets: Secrets;
  ports: Ports;
  redisServer: string | undefined;
}

/** What runs, in the order of its start. */
function childSpecs({ home, secrets, ports, redisServer }: Plan): Record<"redis" | "localkube" | "controlPlane" | "router", ChildSpec | undefined> {
  const env = processEnvironment();
  const node = (name: string, file: string, args: string[], extra: Record<string, string> = {}, graceMs = 15_000): ChildSpec => ({
    name,
    command: process.execPath,
    args: ["--disable-warning=ExperimentalWarning", module(file), ...args],
    env: { ...env, ...extra },
    logFile: join(home.processLogs, `${name}.log`),
    graceMs,
  });
  const redis = redisServer ? redisUrl(secrets, ports.redis) : "";
  return {
    redis: redisServer
      ? {
          name: "redis",
          command: redisServer,
          args: [writeRedisConfig(home, secrets, ports.redis)],
          env,
          logFile: join(home.processLogs, "redis.log"),
          graceMs: 10_000,
        }
      : undefined,
    localkube: node("localkube", "localkube/main", [
      "--data-dir", home.localkube,
      "--port", String(ports.kubernetes),
      "--kubeconfig-out", home.kubeconfig,
      "--crd-dir", join(ROOT, "charts", "isotope", "crds"),
      "--images", home.imageTable,
    ]),
    controlPlane: node("control-plane", "local/control-plane", [
      "--home", home.root,
      "--port-base", String(ports.router),
    ], { ISOTOPE_REDIS_URL: redis }),
    router: node("router", "engine/router/main", [
      "--kubeconfig", home.kubeconfig,
      "--port", String(ports.router),
    ]),
  };
}

/** Whether something on this machine listens on the port already. */
const portTaken = (port: number): Promise<boolean> =>
  new Promise((done) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });

async function refuseTakenPorts(ports: Ports): Promise<void> {
  const entries = Object.entries(ports) as [string, number][];
  const taken = await Promise.all(entries.map(async ([name, port]) => ((await portTaken(port)) ? `${port} (${name})` : "")));
  const names = taken.filter((name) => name !== "");
  if (names.length > 0) throw new Error(`Cannot start: in use already: port ${names.join(", ")}; choose others with --port-base`);
}

export { EXTENSION, ROOT, START_TIMEOUT_MS };
export type { Say };
export { childSpecs, refuseTakenPorts };
void [existsSync, rmSync, bootstrapObjects, superviseChild, deployFolder, lockAndOpenHome, writeHomeFile, imageTable, portsFrom, findRedisServer, announcePlatform, waitFor];
export type { Child };
