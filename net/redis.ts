import { PlatformError } from "../api/errors.ts";
import type { Log } from "./log.ts";
import { type RedisClient, redisClient } from "./redis-client.ts";

/** `absent` = no URL was set; `lost` = set, but not connected at the moment. */
type RedisState = "absent" | "connecting" | "ready" | "lost";

export interface RedisConnectionOptions {
  /** As `redisClient` takes it; undefined or "" = this platform runs without Redis. */
  readonly url: string | undefined;
  readonly log: Log;
  /** Shown in `CLIENT LIST`. */
  readonly name: string;
  /** Longest pause between two attempts to connect; default 2,000. */
  readonly maxRetryDelayMs?: number;
}

/** Absence and loss of Redis are states: nothing here throws at start, and a lost connection is sought for ever. */
export interface RedisConnection {
  state(): RedisState;
  /** The connected client. Throws `PlatformError("redis_unavailable")` in every other state, so that callers fail fast instead of queueing. */
  client(): RedisClient;
  /** Resolves when connected; rejects with `redis_unavailable` when there is no URL or after `waitMs`. */
  ready(waitMs: number): Promise<RedisClient>;
  close(): Promise<void>;
}

const RETRY_STEP_MS = 100;

export function redisConnection(options: RedisConnectionOptions): RedisConnection {
  const { url, log } = options;
  if (url === undefined || url === "") return absentRedis();
  let state: RedisState = "connecting";
  const client = redisClient(url, {
    name: options.name,
    patient: false,
    maxRetriesPerRequest: 1,
    retryDelayMs: (attempt) => Math.min(attempt * RETRY_STEP_MS, options.maxRetryDelayMs ?? 2_000),
  });
  client.on("ready", () => {
    if (state === "lost") log.info("Redis is back");
    state = "ready";
  });
  client.on("close", () => {
    if (state === "ready") log.warn("Redis is gone; what needs it answers 503 until it is back");
    state = "lost";
  });
  // Without a listener ioredis prints every refused attempt; the states above tell the story once.
  client.on("error", () => undefined);
  return {
    state: () => state,
    client: () => {
      if (state !== "ready") throw unavailable(`Redis is ${state}`);
      return client;
    },
    ready: (waitMs) => untilReady(client, () => state, waitMs),
    close: async () => {
      if (state === "ready") await client.quit().catch(() => undefined);
      client.disconnect();
    },
  };
}

function untilReady(client: RedisClient, state: () => RedisState, waitMs: number): Promise<RedisClient> {
  if (state() === "ready") return Promise.resolve(client);
  return new Promise((resolve, reject) => {
    const onReady = () => {
      clearTimeout(timer);
      resolve(client);
    };
    const timer = setTimeout(() => {
      client.off("ready", onReady);
      reject(unavailable(`Redis did not answer within ${waitMs} ms`));
    }, waitMs);
    client.once("ready", onReady);
  });
}

function absentRedis(): RedisConnection {
  const error = () => unavailable("No Redis is set for this platform");
  return {
    state: () => "absent",
    client: () => {
      throw error();
    },
    ready: () => Promise.reject(error()),
    close: () => Promise.resolve(),
  };
}

const unavailable = (message: string) => new PlatformError("redis_unavailable", message);
