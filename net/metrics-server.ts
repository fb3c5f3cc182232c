import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { METRICS_CONTENT_TYPE, type MetricsRegistry } from "./metrics.ts";

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

export interface MetricsServerOptions {
  readonly host: string;
  /** 0 = a free one. */
  readonly port: number;
  readonly registry: MetricsRegistry;
  /** Undefined when the process can do its work, else what it waits for. Default: ready. */
  readonly notReady?: () => string | undefined;
}

/** Serves `/metrics`, `/healthz` (200 while the event loop turns) and `/readyz` (200 or 503 with the reason) on a port of their own. */
export async function serveMetrics(options: MetricsServerOptions): Promise<MetricsServer> {
  const server = createServer((request, reply) => {
    const path = request.url?.split("?", 1)[0];
    const send = (status: number, type: string, body: string) =>
      reply.writeHead(status, { "content-type": type, "x-content-type-options": "nosniff" }).end(body);
    if (request.method !== "GET" && request.method !== "HEAD") return send(405, "text/plain", "GET only\n");
    if (path === "/metrics") return send(200, METRICS_CONTENT_TYPE, options.registry.text());
    if (path === "/healthz") return send(200, "text/plain", "ok\n");
    if (path === "/readyz") {
      const reason = options.notReady?.();
      return reason === undefined ? send(200, "text/plain", "ok\n") : send(503, "text/plain", `${reason}\n`);
    }
    return send(404, "text/plain", "not found\n");
  });
  server.headersTimeout = 10_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: portOf(server.address()),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const portOf = (address: AddressInfo | string | null): number =>
  address !== null && typeof address === "object" ? address.port : 0;
