import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { type FoundServer, findRedisServer, redisServers, serverVersion } from "../../local/redis.ts";
import { freePortBase } from "../e2e/free-ports.ts";

export interface RedisServerOptions {
  readonly appendfsync?: "always" | "everysec" | "no";
  /** The program; default: the first that is installed. */
  readonly binary?: string;
  /** Further settings, e.g. `{"cluster-enabled": "yes"}`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A Redis of a test's own on loopback, with its data in a folder of its own. */
export interface RedisServer {
  readonly port: number;
  readonly folder: string;
  readonly url: string;
  readonly pid: () => number;
  connect(): Redis;
  /** kill -9. */
  kill(): Promise<void>;
  /** Starts it again on its data. */
  start(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

const redisBinary = (): string => {
  const binary = findRedisServer();
  if (binary === undefined) throw new Error("These tests need redis-server or valkey-server in the PATH");
  return binary;
};

/** Programs that the journal is to be tried on besides those that are installed, separated by ":". */
const MORE_SERVERS = "ISOTOPE_TEST_REDIS_SERVERS";

/** Every Redis and Valkey that is installed, and those that the environment names. @throws when one of these is none */
export function allServers(): FoundServer[] {
  const named = (process.env[MORE_SERVERS] ?? "").split(":").filter(Boolean);
  const more = named.map((path) => {
    const version = serverVersion(path);
    if (version === undefined)
      throw new Error(
        `Cannot test with ${MORE_SERVERS}: "${path}" is no Redis or Valkey server, 6.0 or newer`,
      );
    return { path, version };
  });
  return [...redisServers(), ...more];
}

export async function redisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), "isotope-redis-"));
  let port = 0;
  const settings = {
    bind: "127.0.0.1",
    dir: folder,
    appendonly: "yes",
    appendfsync: options.appendfsync ?? "no",
    save: "",
    "maxmemory-policy": "noeviction",
    "auto-aof-rewrite-percentage": "0",
    ...options.settings,
  };
  const binary = options.binary ?? redisBinary();
  const args = () =>
    Object.entries({ ...settings, port: String(port) }).flatMap(([name, value]) => [`--${name}`, value]);
  const clients: Redis[] = [];
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  };
  const start = async (): Promise<void> => {
    const started = spawn(binary, args(), { stdio: "ignore" });
    child = started;
    const ended = new AbortController();
    started.once("exit", () => ended.abort());
    await answering(port, ended.signal);
  };
  // Another process may have taken the port meanwhile, or that of the cluster's bus, 10,000 above it.
  for (let left = 5; ; left--) {
    port = await freePortBase();
    try {
      await start();
      break;
    } catch (error) {
      if (left === 0) throw error;
    }
  }
  return {
    port,
    folder,
    url: `redis://127.0.0.1:${port}`,
    pid: () => child?.pid ?? 0,
    connect: () => {
      const client = new Redis({
        host: "127.0.0.1",
        port,
        retryStrategy: (attempt) => Math.min(attempt * 20, 200),
      });
      client.on("error", () => undefined);
      clients.push(client);
      return client;
    },
    kill,
    start,
    stop: async () => {
      for (const client of clients) client.disconnect();
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** @throws when the server ends before it answers */
async function answering(port: number, ended: AbortSignal): Promise<void> {
  const client = new Redis({
    host: "127.0.0.1",
    port,
    lazyConnect: true,
    retryStrategy: () => 10,
    maxRetriesPerRequest: null,
  });
  client.on("error", () => undefined);
  const gone = new Promise<string>((end) =>
    ended.addEventListener("abort", () => end("ended"), { once: true }),
  );
  try {
    for (;;) {
      const answer = await Promise.race([client.ping().catch((error: Error) => error.message), gone]);
      if (ended.aborted) throw new Error(`The Redis server on port ${port} has ended`);
      if (answer === "PONG") return;
      await sleep(10);
    }
  } finally {
    client.disconnect();
  }
}
