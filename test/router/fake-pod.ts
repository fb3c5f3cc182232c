import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/**
 * The far side of a relay: a pod that keeps the contract of `api/wire/pod.ts` towards routers (refusals, limits), and records what it saw.
 * What it does is in the path: `/echo`, `/slow?ms=`, `/held`, `/status?code=`, `/sse`, `/big?bytes=`, `/reset`, `/half`, `/hang`, `/throw`.
 */
export interface FakePod {
  readonly uid: string;
  readonly address: string;
  readonly host: string;
  readonly port: number;
  revision: string;
  requestsPerPod: number;
  onceOnly: boolean;
  /** Most requests that were in it at once. */
  mostInFlight: number;
  started: number;
  refused: number;
  inFlight: number;
  readonly paths: string[];
  /** Calls of `/held` that run: each answers when its function here is called. */
  readonly held: (() => void)[];
  aborted: number;
  /** Refuses everything with this reason. */
  refuseAll: string | undefined;
  /** Keeps the reference system's contract: serves `/` only and refuses nothing. */
  reference: boolean;
  close(): Promise<void>;
}

export interface FakePodOptions {
  uid: string;
  revision: string;
  requestsPerPod?: number;
  onceOnly?: boolean;
  host?: string;
  port?: number;
  /** What the pod says of itself in `/echo`. */
  name?: string;
}

export async function startFakePod(options: FakePodOptions): Promise<FakePod> {
  const sockets = new Set<Socket>();
  const server = createServer((request, reply) => void serve(pod, options.name ?? "", request, reply));
  server.keepAliveTimeout = 60_000;
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("checkContinue", (request, reply) => {
    const reason = refusal(pod, request);
    if (reason !== undefined) return refuse(pod, reply, reason);
    reply.writeContinue();
    void serve(pod, options.name ?? "", request, reply);
  });
  server.on("upgrade", (request, socket, head) => upgrade(pod, request, socket as Socket, head));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, options.host ?? "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const host = options.host ?? "127.0.0.1";
  const pod: FakePod = {
    uid: options.uid,
    host,
    port,
    address: `${host}:${port}`,
    revision: options.revision,
    requestsPerPod: options.requestsPerPod ?? 100,
    onceOnly: options.onceOnly ?? false,
    mostInFlight: 0,
    started: 0,
    refused: 0,
    inFlight: 0,
    paths: [],
    held: [],
    aborted: 0,
    refuseAll: undefined,
    reference: false,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  return pod;
}

function refusal(pod: FakePod, request: IncomingMessage): string | undefined {
  if (pod.reference) return undefined;
  if (pod.refuseAll) return pod.refuseAll;
  if (request.headers["x-isotope-pod"] !== pod.uid) return "wrong-pod";
  if (request.headers["x-isotope-revision"] !== pod.revision) return "wrong-revision";
  if (pod.onceOnly && pod.started > 0) return "retired";
  if (pod.inFlight >= pod.requestsPerPod) return "busy";
  return undefined;
}

function refuse(pod: FakePod, reply: ServerResponse, reason: string): void {
  pod.refused += 1;
  reply.writeHead(reason === "busy" ? 429 : 421, { "x-isotope-refused": reason }).end("refused");
}

async function serve(
  pod: FakePod,
  name: string,
  request: IncomingMessage,
  reply: ServerResponse,
): Promise<void> {
  const reason = request.headers.expect ? undefined : refusal(pod, request);
  if (reason !== undefined) return refuse(pod, reply, reason);
  pod.started += 1;
  pod.inFlight += 1;
  pod.mostInFlight = Math.max(pod.mostInFlight, pod.inFlight);
  pod.paths.push(request.url ?? "");
  let open = true;
  reply.on("close", () => {
    if (open) pod.inFlight -= 1;
    open = false;
    if (!reply.writableFinished) pod.aborted += 1;
  });
  // The slot is free once the answer is complete, before the client can have seen its end.
  reply.on("prefinish", () => {
    if (open) pod.inFlight -= 1;
    open = false;
  });
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer);
  } catch {
    return;
  }
  await answer(name, pod, request, reply, Buffer.concat(chunks));
}

async function answer(
  name: string,
  pod: FakePod,
  request: IncomingMessage,
  reply: ServerResponse,
  body: Buffer,
): Promise<void> {
  const url = new URL(request.url ?? "/", "http://pod");
  const number = (key: string, fallback: number) => Number(url.searchParams.get(key) ?? fallback);
  switch (url.pathname) {
    case "/slow":
      await new Promise((resolve) => setTimeout(resolve, number("ms", 50)));
      reply.writeHead(200, { "content-type": "text/plain" }).end(`slow from ${name || pod.uid}\n`);
      return;
    case "/held":
      await new Promise<void>((resolve) => pod.held.push(resolve));
      reply.writeHead(200, { "content-type": "text/plain" }).end("let go\n");
      return;
    case "/status":
      reply
        .writeHead(number("code", 200), { "x-fission-route-miss": "1", "x-isotope-error": "function_error" })
        .end("status\n");
      return;
    case "/sse":
      reply.writeHead(200, { "content-type": "text/event-stream" });
      for (let i = 0; i < number("n", 3); i += 1) {
        reply.write(`data: ${i}\n\n`);
        await new Promise((resolve) => setTimeout(resolve, number("ms", 20)));
      }
      reply.end();
      return;
    case "/big":
      reply
        .writeHead(200, { "content-type": "application/octet-stream" })
        .end(Buffer.alloc(number("bytes", 1000), "x"));
      return;
    case "/reset":
      request.socket.destroy();
      return;
    case "/half":
      reply.writeHead(200, { "content-length": "100" });
      reply.write("only half");
      setTimeout(() => request.socket.destroy(), 20);
      return;
    case "/hang":
      return;
    case "/garbage":
      request.socket.end("HTTP/9.9 what\r\n\r\n");
      return;
    default:
      reply
        .writeHead(200, {
          "content-type": "application/json",
          "access-control-allow-origin": "https://set-by-function.example",
        })
        .end(
          JSON.stringify({
            pod: pod.uid,
            name,
            revision: pod.revision,
            method: request.method,
            url: request.url,
            headers: request.headers,
            bodyBytes: body.length,
            bodySha256: createHash("sha256").update(body).digest("hex"),
          }),
        );
  }
}

/** A WebSocket as far as the router is concerned: an upgrade, then bytes that come back. */
function upgrade(pod: FakePod, request: IncomingMessage, socket: Socket, head: Buffer): void {
  const reason = refusal(pod, request);
  if (reason !== undefined) {
    socket.end(
      `HTTP/1.1 421 Misdirected Request\r\nx-isotope-refused: ${reason}\r\ncontent-length: 0\r\n\r\n`,
    );
    return;
  }
  pod.started += 1;
  pod.inFlight += 1;
  socket.on("error", () => undefined);
  socket.on("close", () => (pod.inFlight -= 1));
  const key = String(request.headers["sec-websocket-key"]);
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
  );
  if (head.length > 0) socket.write(head);
  socket.pipe(socket);
}
