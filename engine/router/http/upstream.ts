import { isIP } from "node:net";
import type { ExchangeImpl } from "./exchange.ts";
import { relayQueueFailed, relaySend } from "./relay.ts";
import { Sweeper, type Swept } from "./sweeper.ts";
import type { Upstream, UpstreamCounters, UpstreamOptions, Upstreams } from "./types.ts";
import { type ConnectionOwner, UpstreamConnection } from "./upstream-connection.ts";

/**
 * Keep-alive pools towards pods.
 *
 * 1. An exchange is in the queue of its pool, or has a connection, or neither: never two of them.
 * 2. While exchanges wait, there are as many attempts to connect as the cap allows, and each failed attempt fails the longest waiting
 *    exchange, so that none waits for nothing.
 * 3. Idle connections are used last in, first out: the surplus ages and is closed.
 */

interface Settings {
  readonly maxConnections: number;
  readonly maxWaiting: number;
  readonly idleTimeoutMs: number;
  readonly maxHeaderBytes: number;
  readonly maxHeaders: number;
  readonly maxTargetBytes: number;
}

/** An upstream may close an idle connection at the moment that we use it: stay clear of its limit by this much. */
const KEEP_ALIVE_MARGIN_MS = 1000;

export class UpstreamPool implements Upstream, ConnectionOwner, Swept {
  readonly host: string;
  readonly port: number;
  readonly headLimits: Settings;
  readonly #counters: UpstreamCounters;
  readonly #sweeper: Sweeper;
  readonly #forget: () => void;
  readonly #idle: UpstreamConnection[] = [];
  readonly #queue = new Set<ExchangeImpl>();
  #open = 0;
  readonly #connecting = new Set<UpstreamConnection>();
  #closed = false;
  context: unknown = undefined;
  active = 0;

  constructor(
    host: string,
    port: number,
    settings: Settings,
    counters: UpstreamCounters,
    sweeper: Sweeper,
    forget: () => void,
  ) {
    this.host = host;
    this.port = port;
    this.headLimits = settings;
    this.#counters = counters;
    this.#sweeper = sweeper;
    this.#forget = forget;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  get counters(): UpstreamCounters {
    return this.#counters;
  }

  /** Gives the exchange a connection now or later, or fails it. */
  acquire(exchange: ExchangeImpl): void {
    const connection = this.#idle.pop();
    if (connection !== undefined) {
      this.#counters.idle--;
      this.#counters.reused++;
      this.#give(connection, exchange);
      return;
    }
    if (this.#closed) {
      relayQueueFailed(exchange, "closed", `address ${this.host}:${this.port} was given up`);
      return;
    }
    if (this.#queue.size - this.#connecting.size >= this.headLimits.maxWaiting) {
      relayQueueFailed(
        exchange,
        "queue-full",
        `${this.#queue.size} requests wait for ${this.host}:${this.port}`,
      );
      return;
    }
    this.#queue.add(exchange);
    this.#connectForQueue();
  }

  /**
   * Takes an exchange out of the queue.
   * @param timedOut give up an attempt to connect as well, so that a silent address does not hold the next exchange too
   */
  leave(exchange: ExchangeImpl, timedOut: boolean): void {
    if (!this.#queue.delete(exchange) || !timedOut) return;
    const [oldest] = this.#connecting;
    if (oldest === undefined || this.#connecting.size <= this.#queue.size) return;
    this.#connecting.delete(oldest);
    this.#counters.connectFailures++;
    oldest.abandon();
  }

  /** Whether a waiting exchange waits for others to end rather than for a connection to come about. */
  get full(): boolean {
    return this.#open >= this.headLimits.maxConnections && this.#connecting.size === 0;
  }

  connected(connection: UpstreamConnection): void {
    this.#connecting.delete(connection);
    this.released(connection);
  }

  released(connection: UpstreamConnection): void {
    if (this.#queue.size > 0) {
      const [next] = this.#queue;
      if (next === undefined) return;
      this.#queue.delete(next);
      if (connection.served > 0) this.#counters.reused++;
      this.#give(connection, next);
    } else if (this.#closed) connection.abandon();
    else {
      if (this.#idle.length === 0) this.#sweeper.add(this);
      connection.idleSince = this.#sweeper.now;
      this.#idle.push(connection);
      this.#counters.idle++;
    }
  }

  lost(connection: UpstreamConnection, error: Error | undefined): void {
    this.#open--;
    this.#counters.open--;
    const index = this.#idle.indexOf(connection);
    if (index >= 0) {
      this.#idle.splice(index, 1);
      this.#counters.idle--;
      if (this.#idle.length === 0) this.#sweeper.delete(this);
    }
    if (this.#connecting.delete(connection)) {
      this.#counters.connectFailures++;
      const [oldest] = this.#queue;
      if (oldest !== undefined) {
        this.#queue.delete(oldest);
        relayQueueFailed(oldest, "connect", error?.message ?? `connect to ${this.host}:${this.port} failed`);
      }
    }
    this.#connectForQueue();
  }

  sweep(now: number): void {
    for (let index = this.#idle.length - 1; index >= 0; index--) {
      const connection = this.#idle[index]!;
      let most = this.headLimits.idleTimeoutMs;
      if (connection.keepAliveMs > 0)
        most = Math.min(most, Math.max(0, connection.keepAliveMs - KEEP_ALIVE_MARGIN_MS));
      if (now - connection.idleSince < most) continue;
      this.#idle.splice(index, 1);
      this.#counters.idle--;
      connection.abandon();
    }
    if (this.#idle.length === 0) this.#sweeper.delete(this);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#forget();
    this.#counters.idle -= this.#idle.length;
    this.#sweeper.delete(this);
    for (const connection of this.#idle.splice(0)) connection.abandon();
    const waiting = [...this.#queue];
    this.#queue.clear();
    for (const exchange of waiting) {
      relayQueueFailed(exchange, "closed", `address ${this.host}:${this.port} was given up`);
    }
  }

  #give(connection: UpstreamConnection, exchange: ExchangeImpl): void {
    this.#counters.requests++;
    connection.start(exchange);
    relaySend(exchange, connection);
  }

  #connectForQueue(): void {
    while (
      !this.#closed &&
      this.#connecting.size < this.#queue.size &&
      this.#open < this.headLimits.maxConnections
    ) {
      this.#open++;
      this.#counters.open++;
      this.#counters.connects++;
      this.#connecting.add(new UpstreamConnection(this));
    }
  }
}

class UpstreamTable implements Upstreams {
  readonly counters: UpstreamCounters = {
    connects: 0,
    open: 0,
    idle: 0,
    connectFailures: 0,
    requests: 0,
    reused: 0,
    resets: 0,
    badResponses: 0,
    refusals: 0,
  };
  readonly #settings: Settings;
  readonly #sweeper: Sweeper;
  readonly #pools = new Map<string, UpstreamPool>();

  constructor(options: UpstreamOptions) {
    this.#settings = {
      maxConnections: options.maxConnections ?? 1024,
      maxWaiting: options.maxWaiting ?? 1024,
      idleTimeoutMs: options.idleTimeoutMs ?? 30_000,
      maxHeaderBytes: Math.min(options.maxHeaderBytes ?? 65_535, 65_535),
      maxHeaders: options.maxHeaders ?? 200,
      maxTargetBytes: 0,
    };
    this.#sweeper = new Sweeper(options.sweepMs ?? 50);
  }

  at(host: string, port: number): Upstream {
    const key = `${host} ${port}`;
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      if (isIP(host) === 0)
        throw new TypeError(`Cannot use upstream "${host}": host must be an IPv4 or IPv6 address`);
      pool = new UpstreamPool(host, port, this.#settings, this.counters, this.#sweeper, () =>
        this.#pools.delete(key),
      );
      this.#pools.set(key, pool);
    }
    return pool;
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.close();
  }
}

/** Makes an empty table of upstreams; share one between all listeners of a process. */
export function createUpstreams(options: UpstreamOptions = {}): Upstreams {
  return new UpstreamTable(options);
}
