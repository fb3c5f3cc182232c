import http from "node:http";
import net from "node:net";
import { compileHeaderFilter } from "../../engine/router/http/header-filter.ts";
import { createListener } from "../../engine/router/http/listener.ts";
import type {
  Exchange,
  Handler,
  Limits,
  Listener,
  RelayPlan,
  Upstream,
  Upstreams,
} from "../../engine/router/http/types.ts";
import { createUpstreams } from "../../engine/router/http/upstream.ts";

/** A plan that lets everything through, with patience: tests whose times are to run out say so themselves. */
export const PLAN: RelayPlan = {
  requestFilter: compileHeaderFilter({ strip: [], stripPrefixes: ["x-isotope-"] }),
  responseFilter: compileHeaderFilter({ strip: [], stripPrefixes: ["x-isotope-"] }),
  refusalHeader: "x-isotope-refused",
  expectContinue: true,
  connectTimeoutMs: 60_000,
  responseTimeoutMs: 60_000,
  idleTimeoutMs: 60_000,
  maxBodyBytes: 4 * 1024 ** 3,
  allowUpgrade: true,
};

/** A listener with its upstreams, as a test needs it. */
export interface Core {
  readonly port: number;
  readonly listener: Listener;
  readonly upstreams: Upstreams;
  /** What each ended exchange came to, oldest first. */
  readonly ended: Array<{ outcome: string; status: number; bytesIn: number; bytesOut: number; path: string }>;
  readonly failures: string[];
  readonly at: (port: number) => Upstream;
  readonly stop: () => Promise<void>;
}

/** Starts a core on a free port; what the handler leaves out answers plainly. */
export async function startCore(
  onRequest: (exchange: Exchange, core: Core) => void,
  options: {
    limits?: Partial<Limits>;
    handler?: Partial<Handler>;
    pool?: Parameters<typeof createUpstreams>[0];
  } = {},
): Promise<Core> {
  const upstreams = createUpstreams({ sweepMs: 10, ...options.pool });
  const ended: Core["ended"] = [];
  const failures: string[] = [];
  const handler: Handler = {
    onRequest: (exchange) => onRequest(exchange, core),
    onRefused: (exchange, refusal) => exchange.reply(503, "", `refused ${refusal.reason}`),
    onFailed: (exchange, failure) => {
      failures.push(failure.kind);
      exchange.reply(failure.kind.endsWith("timeout") ? 504 : 502, "", `${failure.kind}: ${failure.message}`);
    },
    onResponse: () => "",
    onDeadline: (exchange) => exchange.reply(504, "", "deadline"),
    onEnd: ({ outcome, status, bytesIn, bytesOut, path }) =>
      void ended.push({ outcome, status, bytesIn, bytesOut, path }),
    ...options.handler,
  };
  const listener = createListener(handler, { upstreams, sweepMs: 10, limits: options.limits ?? {} });
  const port = await listener.listen("127.0.0.1", 0);
  const core: Core = {
    port,
    listener,
    upstreams,
    ended,
    failures,
    at: (upstreamPort) => upstreams.at("127.0.0.1", upstreamPort),
    stop: async () => {
      await listener.close(50);
      upstreams.close();
    },
  };
  return core;
}

/** What a server understood of a request. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly body: string;
  readonly host: string | undefined;
}

/** A node:http server that answers with what it has seen, as JSON. */
export async function startEcho(): Promise<{ server: http.Server; port: number; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = http.createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (chunk: Buffer) => parts.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(parts).toString("latin1");
      seen.push({ method: request.method ?? "", url: request.url ?? "", body, host: request.headers.host });
      const text = JSON.stringify({
        method: request.method,
        url: request.url,
        body,
        headers: request.headers,
      });
      response.setHeader("content-type", "application/json");
      response.end(request.method === "HEAD" ? "" : text);
    });
  });
  const port = await listenOn(server);
  return { server, port, seen };
}

/** Starts a server on a free port of 127.0.0.1. */
export function listenOn(server: net.Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

/** A raw server that hands each connection to a script. */
export async function startScript(
  script: (socket: net.Socket) => void,
): Promise<{ server: net.Server; port: number }> {
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    script(socket);
  });
  return { server, port: await listenOn(server) };
}

/** What came back on a connection. */
export interface Heard {
  /** Statuses of all final responses, in order. */
  readonly statuses: number[];
  readonly text: string;
  readonly closed: boolean;
}

/** A raw client connection that gathers what it hears. */
export class RawClient {
  readonly socket: net.Socket;
  text = "";
  closed = false;
  reset = false;
  #wake: () => void = () => undefined;

  constructor(port: number) {
    this.socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
    this.socket.on("data", (chunk: Buffer) => {
      this.text += chunk.toString("latin1");
      this.#wake();
    });
    this.socket.on("error", () => {
      this.reset = true;
    });
    this.socket.on("close", () => {
      this.closed = true;
      this.#wake();
    });
  }

  send(...parts: Array<string | Buffer>): void {
    for (const part of parts)
      this.socket.write(typeof part === "string" ? Buffer.from(part, "latin1") : part);
  }

  /** Waits until the condition holds, or the time is over. @returns whether it held */
  async until(condition: (client: RawClient) => boolean, timeoutMs = 30_000): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (!condition(this)) {
      const left = deadline - performance.now();
      if (left <= 0) return false;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return true;
  }

  /** Statuses of the final responses so far; bodies with Content-Length are skipped properly. */
  statuses(): number[] {
    const out: number[] = [];
    let rest = this.text;
    for (
      let head = /^HTTP\/1\.1 (\d{3})[^]*?\r\n\r\n/.exec(rest);
      head !== null;
      head = /^HTTP\/1\.1 (\d{3})[^]*?\r\n\r\n/.exec(rest)
    ) {
      const status = Number(head[1]);
      const length = /^content-length: (\d+)\r$/im.exec(head[0]);
      if (status >= 200) out.push(status);
      rest = rest.slice(head[0].length + (length === null ? 0 : Number(length[1])));
    }
    return out;
  }
}

/**
 * Sends raw bytes in the given parts, each in a packet of its own, and waits for `count` responses, the connection's end or silence.
 */
export async function converse(
  port: number,
  parts: readonly string[],
  count = 1,
  silenceMs = 10_000,
  finished: (text: string) => boolean = () => false,
): Promise<Heard> {
  const client = new RawClient(port);
  for (const part of parts) {
    client.send(part);
    if (parts.length > 1) await new Promise((resolve) => setImmediate(resolve));
  }
  await client.until(
    () => client.closed || finished(client.text) || client.statuses().length >= count,
    silenceMs,
  );
  const heard = { statuses: client.statuses(), text: client.text, closed: client.closed };
  client.socket.destroy();
  return heard;
}
