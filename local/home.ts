import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SUPERVISOR_FILE } from "../net/local-connection.ts";

/** The folder that holds a local platform's state; every path in it is named here. */
export interface Home {
  root: string;
  kubeconfig: string;
  connection: string;
  /** Master key of internal calls, one line. */
  internalKey: string;
  redisPassword: string;
  redisFunctionsPassword: string;
  imageTable: string;
  lock: string;
  localkube: string;
  /** CRI-format logs of pods. */
  podLogs: string;
  storage: string;
  redis: string;
  logStore: string;
  processLogs: string;
}

const writePrivate = (path: string, content: string): void => {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, content, { mode: 0o600, flush: true });
  renameSync(temporary, path);
};

/** Replaces a file of the home whole or not at all; only the owner may read it. */
export const writeHomeFile = writePrivate;

/** The secret in `path`, made on first use. */
function secretAt(path: string): string {
  try {
    const secret = readFileSync(path, "utf8").trim();
    if (secret.length >= 32) return secret;
  } catch {
    // First start: made below.
  }
  const secret = randomBytes(32).toString("hex");
  writePrivate(path, `${secret}\n`);
  return secret;
}

export interface Secrets {
  internalKey: string;
  redisPassword: string;
  redisFunctionsPassword: string;
}

/** Lays out the home and makes the secrets that are missing. @throws {Error} when the folder cannot be written. */
export function openHome(root: string): ReturnType<typeof layOut> {
  try {
    return layOut(root);
  } catch (error) {
    throw new Error(
      `Cannot start: the platform's folder must be writable, got "${root}": ${error instanceof Error ? error.message : String(error)}; choose another with --home`,
      { cause: error },
    );
  }
}

function layOut(root: string): { home: Home; secrets: Secrets } {
  const home: Home = {
    root,
    kubeconfig: join(root, "kubeconfig"),
    connection: join(root, "connection.json"),
    internalKey: join(root, "keys", "internal"),
    redisPassword: join(root, "keys", "redis"),
    redisFunctionsPassword: join(root, "keys", "redis-functions"),
    imageTable: join(root, "run", "images.json"),
    lock: join(root, SUPERVISOR_FILE),
    localkube: join(root, "localkube"),
    podLogs: join(root, "localkube", "logs", "pods"),
    storage: join(root, "storage"),
    redis: join(root, "redis"),
    logStore: join(root, "logs", "functions"),
    processLogs: join(root, "logs", "processes"),
  };
  for (const folder of [root, "keys", "run", "localkube", "storage", "redis", "logs"].map((name) =>
    name === root ? root : join(root, name),
  )) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
  for (const folder of [home.logStore, home.processLogs]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(root, 0o700);
  const secrets = {
    internalKey: secretAt(home.internalKey),
    redisPassword: secretAt(home.redisPassword),
    redisFunctionsPassword: secretAt(home.redisFunctionsPassword),
  };
  return { home, secrets };
}
