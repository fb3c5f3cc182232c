import { Cluster, Redis } from "ioredis";

/** A connection to one Redis or Valkey, or to a cluster of them. */
export type RedisClient = Redis | Cluster;

export interface RedisClientOptions {
  /** Shown in `CLIENT LIST`. */
  readonly name: string;
  /** Commands wait for a connection; else they fail without one. */
  readonly patient: boolean;
  /** How often a command is tried over new connections; null = without end. */
  readonly maxRetriesPerRequest: number | null;
  /** Pause before an attempt to connect, which counts from 1. */
  readonly retryDelayMs: (attempt: number) => number;
  /** 2: replies of plain commands are lists in lists. */
  readonly protocol?: 2;
  /** Instead of what the URL says. */
  readonly account?: { readonly username?: string; readonly password?: string };
}

const CLUSTER = /^(rediss?)\+cluster:\/\/(?:([^@/]*)@)?([^/@]+)\/?$/;

/**
 * Begins to connect, and does so again for ever. Listen to its `error`: without a listener ioredis prints every refused attempt.
 * @param url `redis://…` or `rediss://…`; some of a cluster's servers: `redis+cluster://user:password@host:port,host:port` (or `rediss+cluster://`)
 * @throws {TypeError} when a cluster's URL names no server with its port
 */
export function redisClient(url: string, options: RedisClientOptions): RedisClient {
  const common = {
    connectionName: options.name,
    maxRetriesPerRequest: options.maxRetriesPerRequest,
    ...(options.protocol === undefined ? {} : { protocol: options.protocol }),
  };
  if (!url.includes("+cluster:"))
    return new Redis(url, {
      ...common,
      ...options.account,
      enableOfflineQueue: options.patient,
      retryStrategy: options.retryDelayMs,
    });
  const { servers, tls, ...account } = clusterOf(url);
  return new Cluster(servers, {
    enableOfflineQueue: options.patient,
    clusterRetryStrategy: options.retryDelayMs,
    // With TLS, a certificate is for a name: the cluster's answers hold addresses.
    ...(tls ? { dnsLookup: (address, done) => done(null, address) } : {}),
    redisOptions: { ...common, ...account, ...options.account, ...(tls ? { tls: {} } : {}) },
  });
}

interface ClusterFacts {
  readonly servers: { readonly host: string; readonly port: number }[];
  readonly tls: boolean;
  readonly username?: string;
  readonly password?: string;
}

function clusterOf(url: string): ClusterFacts {
  const [, scheme, account, places = ""] = CLUSTER.exec(url) ?? [];
  const servers = places.split(",").map((place) => {
    const [, host, port] = /^(\[[^\]]+\]|[^:]+):(\d+)$/.exec(place) ?? [];
    if (host === undefined || !(Number(port) > 0 && Number(port) < 65_536))
      throw new TypeError(
        'Cannot use the address of a Redis cluster: it must be "redis+cluster://user:password@host:port,host:port"',
      );
    return { host: host.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
  });
  const colon = account?.indexOf(":") ?? -1;
  const username = account?.slice(0, Math.max(0, colon));
  return {
    servers,
    tls: scheme === "rediss",
    ...(username ? { username: decodeURIComponent(username) } : {}),
    ...(account === undefined ? {} : { password: decodeURIComponent(account.slice(colon + 1)) }),
  };
}
