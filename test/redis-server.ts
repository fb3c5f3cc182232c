import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { findRedisServer } from "../local/redis.ts";
import { freePortBase } from "./e2e/free-ports.ts";

const READY_MS = 60_000;
const POLL_MS = 20;

/** A Redis of a test's own, on loopback. */
export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** Where its files are. */
  readonly folder: string;
  /** Ends it as if the machine had lost its power (SIGKILL), or in order. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** `SIGSTOP`: it keeps its connections and says nothing, until `SIGCONT`. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void;
  /** Starts it again on the same port and files. */
  start(): Promise<void>;
  /** Ends it and removes its files. */
  remove(): Promise<void>;
}

/** Whether this machine has a Redis or Valkey. */
export const hasRedis = findRedisServer() !== undefined;

/** @param appendfsync `no` = nothing is written to the disk */
export async function startRedisServer(
  appendfsync: "no" | "everysec" | "always" = "no",
): Promise<RedisServer> {
  const binary = findRedisServer();
  if (!binary) throw new Error("No redis-server or valkey-server is installed");
  const folder = mkdtempSync(join(tmpdir(), "isotope-redis-"));
  const port = await freePortBase();
  const args = ["--bind", "127.0.0.1", "--port", String(port), "--dir", folder, "--save", ""];
  const disk = appendfsync === "no" ? [] : ["--appendonly", "yes", "--appendfsync", appendfsync];
  let child: ChildProcess | undefined;
  const server: RedisServer = {
    url: `redis://127.0.0.1:${port}`,
    port,
    folder,
    start: async () => {
      child = spawn(binary, [...args, ...disk, "--maxmemory-policy", "noeviction"], { stdio: "ignore" });
      await answering(port);
    },
    stop: async (signal = "SIGTERM") => {
      const running = child;
      child = undefined;
      if (!running || running.exitCode !== null) return;
      const ended = once(running, "exit");
      running.kill(signal);
      await ended;
    },
    signal: (signal) => void child?.kill(signal),
    remove: async () => {
      await server.stop("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

async function answering(port: number): Promise<void> {
  const client = new Redis(port, "127.0.0.1", { lazyConnect: true, retryStrategy: () => null });
  client.on("error", () => undefined);
  const deadline = performance.now() + READY_MS;
  for (;;) {
    try {
      if (client.status !== "ready") await client.connect();
      await client.ping();
      client.disconnect();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(POLL_MS);
    }
  }
}
