/** Functions of the form `(req, res)` and Express applications: served by Deno's own node:http behind a socket of the pod. */
import type { Invoke } from "./invoke.ts";

/** Carries the caller's Host header to the application; the client of the socket sets its own. */
const HOST_HEADER = "x-isotope-host";
const ORIGIN = "http://function";

/**
 * Starts node:http on a unix socket in the pod's folder, on the first request, and sends each request through it: what Node
 * libraries expect of sockets, headers and streams is then there in full.
 */
export function nodeInvoke(call: (...args: never[]) => unknown, socketPath: string): Invoke {
  let started: Promise<Deno.HttpClient> | null = null;
  const start = async (): Promise<Deno.HttpClient> => {
    const { createServer } = await import("node:http");
    const server = createServer((req, res) => {
      // The client takes the socket for a proxy and sends the whole URL.
      if (req.url?.startsWith(ORIGIN)) req.url = req.url.slice(ORIGIN.length);
      const host = req.headers[HOST_HEADER];
      if (typeof host === "string") req.headers.host = host;
      delete req.headers[HOST_HEADER];
      new Promise((resolve) => resolve(Reflect.apply(call, undefined, [req, res]))).catch(
        (error: unknown) => {
          console.error(error);
          if (!res.headersSent) res.writeHead(500);
          res.end();
        },
      );
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(socketPath, resolve);
    });
    return Deno.createHttpClient({ proxy: { transport: "unix", path: socketPath } });
  };
  return async (request, exchange) => {
    started ??= start();
    const client = await started;
    const { pathname, search, host } = new URL(request.url);
    const headers = new Headers(request.headers);
    headers.set(HOST_HEADER, headers.get("host") ?? host);
    // The client would undo a coding but leave its header.
    headers.set("accept-encoding", "identity");
    return fetch(`${ORIGIN}${pathname}${search}`, {
      method: request.method,
      headers,
      body: request.body,
      redirect: "manual",
      signal: exchange.signal,
      client,
    });
  };
}
