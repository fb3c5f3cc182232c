import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { compileCacheFolder } from "../net/compile-cache.ts";
import type { ChildSpec } from "./child.ts";
import type { Home, Secrets } from "./home.ts";
import type { Ports } from "./ports.ts";
import { functionsRedisUrl, redisUrl, writeRedisConfig } from "./redis.ts";

/** Folder of the platform's code: the repository, or `dist` of the installed package. */
export const ROOT = resolve(import.meta.dirname, "..");
export const EXTENSION = import.meta.filename.endsWith(".ts") ? "ts" : "js";
export const modulePath = (path: string): string => join(ROOT, `${path}.${EXTENSION}`);
export const NODE_FLAGS = ["--disable-warning=ExperimentalWarning"];
export const HOST = "127.0.0.1";
/** The router finishes its requests within this, everything else is quicker. */
const GRACE_MS = 35_000;

const SYSTEM_VARIABLES = ["PATH", "HOME", "TMPDIR", "LANG", "TZ", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"];
const NETWORK_VARIABLES = /^((https?|no)_proxy|npm_config_.*)$/i;

/** The variables of this process that its children need: what the system and package managers read, nothing else. */
export function passedOn(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && (SYSTEM_VARIABLES.includes(name) || NETWORK_VARIABLES.test(name)))
      env[name] = value;
  }
  return env;
}

export interface Plan {
  home: Home;
  secrets: Secrets;
  ports: Ports;
  redisServer: string | undefined;
}

export type ProcessName = "redis" | "localkube" | "control-plane" | "router";

/** Arguments of the processes that are our own: the module and its flags. */
const COMMAND_LINES: Record<
  Exclude<ProcessName, "redis">,
  (plan: Plan) => [string, ...(string | number)[]]
> = {
  localkube: ({ home, ports }) => [
    "localkube/main",
    "--data-dir",
    home.localkube,
    "--port",
    ports.kubernetes,
    "--kubeconfig-out",
    home.kubeconfig,
    "--crd-dir",
    join(ROOT, "charts", "isotope", "files", "crds"),
    "--images",
    home.imageTable,
    "--parent-pid",
    process.pid,
  ],
  "control-plane": ({ home, ports }) => [
    "local/control-plane",
    "--home",
    home.root,
    "--port-base",
    ports.router,
  ],
  router: ({ home, ports }) => [
    "engine/router/main",
    "--kubeconfig",
    home.kubeconfig,
    "--port",
    ports.router,
    "--internal-port",
    ports.routerInternal,
    "--metrics-port",
    ports.routerMetrics,
    "--executor-url",
    `http://${HOST}:${ports.executor}`,
    "--workflows-url",
    `http://${HOST}:${ports.workflows}`,
    "--triggers-url",
    `http://${HOST}:${ports.triggers}`,
    "--internal-key-file",
    home.internalKey,
    "--preview-domain",
    PREVIEW_DOMAIN,
  ],
};

/** Versions are at `http://<version>.<namespace>.preview.localhost:<port>`: names under localhost are this machine without any DNS. */
const PREVIEW_DOMAIN = "preview.localhost";

/** Where processes keep what they compiled. */
export const compileCache = (home: Home): string => compileCacheFolder() ?? join(home.root, "cache");

/** For processes that rest most of the time; a full collection would hold up the requests of the router. */
const COMPACT = [
  "--max-semi-space-size=4",
  "--expose-gc",
  "--import",
  pathToFileURL(join(import.meta.dirname, "compact-memory.mjs")).href,
];

/** What a process that does little most of the time gets for its short-lived objects; the router gets what its requests need. */
const HEAP_FLAGS: Record<Exclude<ProcessName, "redis">, readonly string[]> = {
  localkube: COMPACT,
  "control-plane": COMPACT,
  router: [],
};

/** How a process of the platform is run. */
export function childSpec(name: ProcessName, plan: Plan): ChildSpec {
  const { home, secrets, ports, redisServer } = plan;
  const env = passedOn();
  const common = { name, logFile: join(home.processLogs, `${name}.log`), graceMs: GRACE_MS };
  if (name === "redis")
    return {
      ...common,
      command: redisServer ?? "",
      args: [writeRedisConfig(home, secrets, ports.redis)],
      env,
    };
  const [file, ...args] = COMMAND_LINES[name](plan);
  // Compiled code is kept, so that the next start need not compile again.
  const extra: Record<string, string> = { NODE_COMPILE_CACHE: compileCache(home) };
  if (name === "control-plane" && redisServer) {
    extra.ISOTOPE_REDIS_URL = redisUrl(secrets, ports.redis);
    extra.ISOTOPE_FUNCTIONS_REDIS_URL = functionsRedisUrl(secrets, ports.redis);
  }
  if (name === "router" && redisServer) extra.ISOTOPE_ROUTER_REDIS_URL = redisUrl(secrets, ports.redis);
  return {
    ...common,
    command: process.execPath,
    args: [...NODE_FLAGS, ...HEAP_FLAGS[name], modulePath(file), ...args.map(String)],
    env: { ...env, ...extra },
  };
}
