import { createServer, type Server, type Socket } from "node:net";
import { ClientConnection, type ConnectionHost } from "./client-connection.ts";
import type { Reject } from "./reject.ts";
import { Sweeper } from "./sweeper.ts";
import type { CoreErrorCode, Handler, Limits, Listener, ListenerCounters, ListenerOptions } from "./types.ts";

/** Limits that hold unless a listener's options say otherwise. Times in milliseconds, sizes in bytes. */
export const DEFAULT_LIMITS: Limits = {
  maxHeaderBytes: 32_768,
  maxHeaders: 100,
  maxTargetBytes: 16_384,
  headerTimeoutMs: 10_000,
  bodyIdleTimeoutMs: 30_000,
  keepAliveTimeoutMs: 120_000,
  writeTimeoutMs: 30_000,
  maxRequestsPerConnection: 100_000,
  maxConnections: 20_000,
  maxConnectionsPerClient: 0,
  retainBodyBytes: 65_536,
  drainBodyBytes: 262_144,
};

/** Offsets within a head are 16 bits wide. */
const MOST_HEADER_BYTES = 65_535;

class ListenerImpl implements Listener, ConnectionHost {
  readonly handler: Handler;
  readonly limits: Limits;
  readonly counters: ListenerCounters = {
    connectionsAccepted: 0,
    connectionsOpen: 0,
    connectionsRefused: 0,
    requests: 0,
    inFlight: 0,
    rejected: 0,
    rejectedByCode: {},
    tunnelsOpen: 0,
  };
  readonly #errorReply: (
    status: number,
    code: CoreErrorCode,
    message: string,
  ) => { headers: string; body: string };
  readonly #server: Server;
  readonly #sweeper: Sweeper;
  readonly #connections = new Set<ClientConnection>();
  readonly #perClient = new Map<string, number>();
  closing = false;
  draining = false;
  #allClosed: (() => void) | undefined;

  constructor(handler: Handler, options: ListenerOptions) {
    this.handler = handler;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.limits = { ...limits, maxHeaderBytes: Math.min(limits.maxHeaderBytes, MOST_HEADER_BYTES) };
    this.#errorReply = options.errorReply ?? plainErrorReply;
    this.#sweeper = new Sweeper(options.sweepMs ?? 50);
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) =>
      this.#accept(socket),
    );
  }

  get now(): number {
    return this.#sweeper.now;
  }

  listen(
    host: string,
    port: number,
    options: { reusePort?: boolean; backlog?: number } = {},
  ): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      const { reusePort = false, backlog = 4096 } = options;
      this.#server.listen({ host, port, reusePort, backlog }, () => {
        this.#server.off("error", reject);
        // What accept reports later (too many open files) passes by itself.
        this.#server.on("error", () => this.counters.connectionsRefused++);
        const address = this.#server.address();
        resolve(typeof address === "object" && address !== null ? address.port : port);
      });
    });
  }

  drain(): void {
    this.draining = true;
  }

  async close(deadlineMs: number): Promise<number> {
    this.draining = true;
    this.closing = true;
    const closed = new Promise<void>((resolve) => {
      this.#allClosed = resolve;
    });
    this.#server.close();
    for (const connection of this.#connections) connection.retire();
    if (this.#connections.size === 0) return 0;
    let cut = 0;
    const timer = setTimeout(() => {
      cut = this.counters.inFlight;
      for (const connection of this.#connections) connection.abort();
    }, deadlineMs);
    await closed;
    clearTimeout(timer);
    return cut;
  }

  rejectReply(reject: Reject): { headers: string; body: string } {
    const { rejectedByCode } = this.counters;
    this.counters.rejected++;
    rejectedByCode[reject.code] = (rejectedByCode[reject.code] ?? 0) + 1;
    return this.#errorReply(reject.status, reject.code, reject.message);
  }

  exchangeStarted(): void {
    this.counters.requests++;
    this.counters.inFlight++;
  }

  exchangeOver(tunnel: boolean): void {
    this.counters.inFlight--;
    if (tunnel) this.counters.tunnelsOpen--;
  }

  tunnelOpened(): void {
    this.counters.tunnelsOpen++;
  }

  closed(connection: ClientConnection): void {
    if (!this.#connections.delete(connection)) return;
    this.counters.connectionsOpen--;
    this.#sweeper.delete(connection);
    this.#countClient(connection.address, -1);
    if (this.#connections.size === 0) this.#allClosed?.();
  }

  #accept(socket: Socket): void {
    const { limits, counters } = this;
    const address = plainAddress(socket.remoteAddress);
    const overall = this.#connections.size >= limits.maxConnections;
    const most = limits.maxConnectionsPerClient;
    if (this.closing || overall || (most > 0 && (this.#perClient.get(address) ?? 0) >= most)) {
      counters.connectionsRefused++;
      socket.on("error", () => undefined);
      socket.resetAndDestroy();
      return;
    }
    counters.connectionsAccepted++;
    counters.connectionsOpen++;
    this.#countClient(address, 1);
    // The sweeper's clock may stand still while it has no members.
    const connection = new ClientConnection(this, socket, address);
    this.#connections.add(connection);
    this.#sweeper.add(connection);
    connection.accepted();
  }

  #countClient(address: string, by: number): void {
    if (this.limits.maxConnectionsPerClient === 0) return;
    const count = (this.#perClient.get(address) ?? 0) + by;
    if (count > 0) this.#perClient.set(address, count);
    else this.#perClient.delete(address);
  }
}

/**
 * Makes a listener; `listen` starts it.
 * @param handler called for every request
 */
export function createListener(handler: Handler, options: ListenerOptions): Listener {
  return new ListenerImpl(handler, options);
}

function plainAddress(address: string | undefined): string {
  if (address === undefined) return "";
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}

function plainErrorReply(
  _status: number,
  code: CoreErrorCode,
  message: string,
): { headers: string; body: string } {
  return {
    headers: "content-type: application/json\r\n",
    body: JSON.stringify({ component: "router", reason: code, message }),
  };
}
