import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, realpathSync } from "node:fs";
import { delimiter, join } from "node:path";
import { type Home, type Secrets, writeHomeFile } from "./home.ts";

const NAMES = ["redis-server", "valkey-server"];
const MIN_MAJOR = 6;

/** Path of a Redis or Valkey server on this machine, 6.0 or newer (ACL). */
export const findRedisServer = (path?: string): string | undefined => redisServers(path).next().value?.path;

export interface FoundServer {
  readonly path: string;
  /** As it says itself, e.g. `Redis 7.0.15`. */
  readonly version: string;
}

/** All of them, each program once though it has several names. */
export function* redisServers(path = process.env.PATH ?? ""): Generator<FoundServer, undefined> {
  const seen = new Set<string>();
  for (const folder of [...path.split(delimiter), "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"]) {
    for (const name of NAMES) {
      const candidate = join(folder, name);
      const version = serverVersion(candidate);
      if (version === undefined || seen.has(realpathSync(candidate))) continue;
      seen.add(realpathSync(candidate));
      yield { path: candidate, version };
    }
  }
  return undefined;
}

/** Undefined = not a server that can be used. */
export function serverVersion(path: string): string | undefined {
  try {
    accessSync(path, constants.X_OK);
    const said = execFileSync(path, ["--version"], { encoding: "utf8" });
    const [, name, version, major] = /^(\w+) server v=((\d+)[\d.]*)/.exec(said) ?? [];
    return Number(major) >= MIN_MAJOR ? `${name} ${version}` : undefined;
  } catch {
    return undefined;
  }
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** Keys and commands that functions may use on the platform's Redis: their own prefix, nothing that governs the server. */
export const FUNCTIONS_USER = "functions";
export const FUNCTIONS_PREFIX = "app:";

/** Writes the server's configuration and returns its path. Every write is on disk before it is answered: queues and runs live here. */
export function writeRedisConfig(home: Home, secrets: Secrets, port: number): string {
  const path = join(home.redis, "redis.conf");
  const lines = [
    "bind 127.0.0.1",
    `port ${port}`,
    "daemonize no",
    `dir "${home.redis}"`,
    "appendonly yes",
    "appendfsync always",
    'save ""',
    "maxmemory-policy noeviction",
    `user default on #${sha256(secrets.redisPassword)} ~* &* +@all`,
    `user ${FUNCTIONS_USER} on #${sha256(secrets.redisFunctionsPassword)} ~${FUNCTIONS_PREFIX}* &${FUNCTIONS_PREFIX}* +@all -@admin -@dangerous +info -flushall -flushdb -eval -evalsha -function -fcall -script`,
  ];
  writeHomeFile(path, `${lines.join("\n")}\n`);
  return path;
}

export const redisUrl = (secrets: Secrets, port: number): string =>
  `redis://default:${secrets.redisPassword}@127.0.0.1:${port}`;

/** What functions get: the same server, another user. */
export const functionsRedisUrl = (secrets: Secrets, port: number): string =>
  `redis://${FUNCTIONS_USER}:${secrets.redisFunctionsPassword}@127.0.0.1:${port}`;
