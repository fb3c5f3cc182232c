/** Functions of the form `(req, res)` and Express applications: served by Deno's own node:http behind a socket of the pod. */
import type { Invoke } from "./invoke.ts";

/**
 * Starts node:http on a unix socket in the pod's folder, on the first request, and sends each request through it: what Node
 * libraries expect of sockets, headers and streams is then there in full.
 */
export function nodeInvoke(call: (...args: never[]) => unknown, socketPath: string): Invoke {
  let started: Promise<Deno.HttpClient> | null = null;
  const start = async (): Promise<Deno.HttpClient> => {
    const { createServer } = await import("node:http");
    const server = createServer((req, res) => {
      Promise.resolve(Reflect.apply(call, undefined, [req, res])).catch((error: unknown) => {
        console.error(error);
        if (!res.headersSent) res.writeHead(500);
        res.end();
      });
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
    const { pathname, search } = new URL(request.url);
    return fetch(`http://function${pathname}${search}`, {
      method: request.method,
      headers: request.headers,
      body: request.body,
      redirect: "manual",
      signal: exchange.signal,
      client,
    });
  };
}
