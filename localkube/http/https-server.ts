import { STATUS_CODES, type IncomingMessage } from "node:http";
import { createServer, type Server } from "node:https";
import type { Duplex } from "node:stream";
import { methodNotAllowed } from "../api/api-error.ts";
import type { Service } from "./exchange.ts";
import { handleRequest } from "./handle-request.ts";
import type { ServerIdentity } from "./identity.ts";

export interface RunningServer {
  host: string;
  port: number;
  close(): Promise<void>;
}

/** Serves the API over https. Rejects when the port is taken. */
export async function serveHttps(
  service: Service,
  identity: ServerIdentity,
  host: string,
  port: number,
): Promise<RunningServer> {
  const server = createServer(
    {
      key: identity.serverKey,
      cert: identity.serverCertificate,
      keepAliveTimeout: 120_000,
      requestTimeout: 120_000,
    },
    (request, response) => {
      void handleRequest(service, request, response);
    },
  );
  server.on("upgrade", refuseUpgrade);
  server.on("tlsClientError", () => undefined);
  server.on("clientError", (_error, socket) => socket.destroy());
  server.on("connection", (socket) => socket.setNoDelay(true));
  await listen(server, host, port);
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return {
    host,
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        setTimeout(() => server.closeAllConnections(), 250).unref();
        server.closeIdleConnections();
      }),
  };
}

const listen = (server: Server, host: string, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, 1024, () => {
      server.off("error", reject);
      resolve();
    });
  });

/** exec, attach and port-forward ask for an upgrade: they get a Status that says no. */
function refuseUpgrade(request: IncomingMessage, socket: Duplex): void {
  const error = methodNotAllowed();
  const sub = /\/pods\/[^/]+\/(exec|attach|portforward)/.exec(request.url ?? "")?.[1];
  const status = error.toStatus();
  if (sub) status.message = `pods/${sub} is not available here: a local pod is a process of this machine`;
  const body = JSON.stringify(status);
  socket.on("error", () => undefined);
  socket.end(
    [
      `HTTP/1.1 ${error.code} ${STATUS_CODES[error.code] ?? ""}`,
      "Content-Type: application/json",
      `Content-Length: ${Buffer.byteLength(body)}`,
      "Connection: close",
      "",
      body,
    ].join("\r\n"),
  );
}
