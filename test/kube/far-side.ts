import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { Agent } from "undici";
import { type KubeClient, kubeClientOf } from "../../kube/client.ts";

/** How the scripted server treats the next watch. */
export type WatchScript =
  | { kind: "serve" }
  | { kind: "status"; code: number; reason: string }
  | { kind: "error-event"; code: number }
  | { kind: "silent" }
  | { kind: "reset" }
  | { kind: "end" };

interface Item {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace: string; uid: string; resourceVersion: string };
}

/** An API server of one kind that misbehaves as it is told: refuses, falls silent, resets, forgets its history. */
export class ScriptedApi {
  readonly items = new Map<string, Item>();
  version = 100;
  lists = 0;
  watches: string[] = [];
  scripts: WatchScript[] = [];
  pageSize = 1_000;
  /** Lists answer 410 on a continue token while set. */
  expirePages = false;
  readonly #open = new Set<ServerResponse>();
  readonly #sockets = new Set<Socket>();
  #history: { version: number; type: string; object: Item }[] = [];
  #server: Server | undefined;
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }
  async start(): Promise<void> {
    const server = createServer({ keepAliveTimeout: 0 }, (request, reply) => this.#serve(request, reply));
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }
  /** Dies as a killed process does. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    this.#open.clear();
    await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
  }
  put(name: string, uid = `uid-${name}`): void {
    const known = this.items.get(name);
    const object: Item = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name, namespace: "n", uid, resourceVersion: String(++this.version) },
    };
    this.items.set(name, object);
    this.#emit(known?.metadata.uid === uid ? "MODIFIED" : "ADDED", object);
  }
  remove(name: string): void {
    const object = this.items.get(name);
    if (!object) return;
    this.items.delete(name);
    this.#emit("DELETED", {
      ...object,
      metadata: { ...object.metadata, resourceVersion: String(++this.version) },
    });
  }
  /** Later watches from versions before now are answered 410. */
  forgetHistory(): void {
    this.#history = [];
    this.#forgotten = this.version;
  }
  /** Loses everything, as a server whose database was deleted; its versions start anew. */
  wipe(): void {
    this.items.clear();
    this.#history = [];
    this.#forgotten = 0;
    this.version = 5;
  }
  #forgotten = 0;

  #emit(type: string, object: Item): void {
    this.#history.push({ version: this.version, type, object });
    for (const reply of this.#open) reply.write(`${JSON.stringify({ type, object })}\n`);
  }
  #serve(request: IncomingMessage, reply: ServerResponse): void {
    const query = new URL(request.url ?? "/", this.url).searchParams;
    if (query.get("watch") !== "true") return this.#list(query, reply);
    const from = Number(query.get("resourceVersion"));
    this.watches.push(String(from));
    const script = this.scripts.shift() ?? { kind: "serve" };
    if (script.kind === "status") return sendStatus(reply, script.code, script.reason);
    if (script.kind === "reset") return void request.socket.destroy();
    if (from < this.#forgotten || from > this.version) return sendStatus(reply, 410, "Expired");
    reply.writeHead(200, { "content-type": "application/json" });
    reply.flushHeaders();
    if (script.kind === "silent") return;
    if (script.kind === "end") return void reply.end();
    if (script.kind === "error-event") {
      const object = { kind: "Status", code: script.code, reason: "Expired", message: "too old" };
      return void reply.end(`${JSON.stringify({ type: "ERROR", object })}\n`);
    }
    for (const { version, type, object } of this.#history) {
      if (version > from) reply.write(`${JSON.stringify({ type, object })}\n`);
    }
    this.#open.add(reply);
    reply.once("close", () => this.#open.delete(reply));
  }
  #list(query: URLSearchParams, reply: ServerResponse): void {
    this.lists++;
    const token = query.get("continue") ?? "";
    if (token !== "" && this.expirePages) return sendStatus(reply, 410, "Expired");
    const all = [...this.items.values()];
    const limit = Math.min(Number(query.get("limit") ?? Infinity) || Infinity, this.pageSize);
    const from = Number(token || 0);
    const whole = query.get("limit") === null;
    const items = whole ? all : all.slice(from, from + limit);
    const rest = !whole && from + limit < all.length;
    sendJson(reply, 200, {
      kind: "List",
      metadata: {
        resourceVersion: String(this.version),
        ...(rest ? { continue: String(from + limit) } : {}),
      },
      items,
    });
  }
}

function sendJson(reply: ServerResponse, status: number, body: unknown): void {
  reply.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
function sendStatus(reply: ServerResponse, code: number, reason: string): void {
  sendJson(reply, code, { kind: "Status", status: "Failure", code, reason, message: reason });
}

export function clientOf(api: ScriptedApi): KubeClient {
  return kubeClientOf({
    server: api.url,
    namespace: "n",
    dispatcher: new Agent({ keepAliveTimeout: 1_000, connect: { timeout: 15_000 } }),
    authorization: () => Promise.resolve(undefined),
  });
}
