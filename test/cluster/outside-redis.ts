import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { findRedisServer } from "../../local/redis.ts";
import { freePortBase } from "../e2e/free-ports.ts";
import { selfSignedIdentity } from "../self-signed-identity.ts";
import { NETWORK } from "./layout.ts";

const SLOTS = 16_384;
const READY_MS = 60_000;
const POLL_MS = 100;
const MEET_EVERY = 20;
const PASSWORD = "outside";

/** A Redis Cluster on this machine, which pods reach as they reach anything outside: TLS by an authority of its own, and a password. */
export interface OutsideRedis {
  readonly url: string;
  readonly ports: readonly number[];
  /** Certificate of the authority, in PEM. */
  readonly ca: string;
  /** How many keys it holds. */
  keys(): Promise<number>;
  stop(): void;
}

/** @throws where no Redis is installed */
export async function outsideRedis(size: number): Promise<OutsideRedis> {
  const binary = findRedisServer();
  if (binary === undefined) throw new Error("No redis-server or valkey-server is installed");
  const folder = mkdtempSync(join(tmpdir(), "isotope-outside-redis-"));
  const { certificate: ca, key } = await selfSignedIdentity("outside-redis", [NETWORK.host]);
  const files = { "ca.crt": ca, "server.crt": ca, "server.key": key };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  const children: ChildProcess[] = [];
  const nodes: Redis[] = [];
  const stop = (): void => {
    for (const node of nodes) node.disconnect();
    for (const child of children) child.kill("SIGKILL");
    // A server that was killed a moment ago may still have written.
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };
  process.once("exit", () => children.forEach((child) => child.kill("SIGKILL")));
  try {
    const base = await freePortBase();
    const ports = Array.from({ length: size }, (_, at) => base + at);
    for (const port of ports) {
      children.push(spawn(binary, settings(folder, port), { cwd: folder, stdio: "ignore" }));
      const node = new Redis({
        host: NETWORK.host,
        port,
        password: PASSWORD,
        tls: { ca },
        maxRetriesPerRequest: null,
        retryStrategy: () => POLL_MS,
      });
      node.on("error", () => undefined);
      nodes.push(node);
    }
    await joined(nodes, ports);
    return {
      url: `rediss+cluster://default:${PASSWORD}@${ports.map((port) => `${NETWORK.host}:${port}`).join(",")}`,
      ports,
      ca,
      keys: async () =>
        (await Promise.all(nodes.map((node) => node.dbsize()))).reduce((sum, n) => sum + n, 0),
      stop,
    };
  } catch (error) {
    stop();
    throw error;
  }
}

function settings(folder: string, port: number): string[] {
  const given = {
    bind: NETWORK.host,
    port: "0",
    "tls-port": String(port),
    "tls-cert-file": join(folder, "server.crt"),
    "tls-key-file": join(folder, "server.key"),
    "tls-ca-cert-file": join(folder, "ca.crt"),
    "tls-auth-clients": "no",
    "tls-cluster": "yes",
    requirepass: PASSWORD,
    dir: folder,
    save: "",
    "maxmemory-policy": "noeviction",
    "cluster-enabled": "yes",
    "cluster-config-file": `nodes-${port}.conf`,
    "cluster-node-timeout": "30000",
  };
  return Object.entries(given).flatMap(([name, value]) => [`--${name}`, value]);
}

/** Shares the slots out and waits until the servers know each other. A meeting may come to nothing: they meet again. */
async function joined(nodes: readonly Redis[], ports: readonly number[]): Promise<void> {
  const share = Math.ceil(SLOTS / nodes.length);
  for (const [at, node] of nodes.entries())
    await node.call("CLUSTER", "ADDSLOTSRANGE", at * share, Math.min((at + 1) * share, SLOTS) - 1);
  const deadline = performance.now() + READY_MS;
  for (let round = 0; ; round++) {
    if (round % MEET_EVERY === 0)
      for (const node of nodes.slice(1)) await node.call("CLUSTER", "MEET", NETWORK.host, ports[0] ?? 0);
    const states = await Promise.all(nodes.map((node) => node.call("CLUSTER", "INFO")));
    if (states.every((state) => String(state).includes("cluster_state:ok"))) return;
    if (performance.now() > deadline)
      throw new Error(`The Redis Cluster does not come about: ${states.join("; ")}`);
    await sleep(POLL_MS);
  }
}
