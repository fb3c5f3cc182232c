import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/**
 * The far side of the router's watches: an API server that lists and watches functions, httptriggers and endpointslices, whose content
 * the test writes. It can fall silent, break its watches, forget its history and go away.
 */
export interface FakeKube {
  readonly url: string;
  readonly port: number;
  put(plural: string, object: FakeObject): void;
  remove(plural: string, namespace: string, name: string): void;
  get(plural: string, namespace: string, name: string): FakeObject | undefined;
  /** Ends all open watches. */
  breakWatches(): void;
  /** Forgets past events, so that a resumed watch gets 410. */
  compact(): void;
  /** Stops listening and cuts all connections; `up` listens on the same port again. */
  down(): Promise<void>;
  up(): Promise<void>;
  lists(plural: string): number;
  close(): Promise<void>;
}

interface FakeObject {
  metadata: {
    name: string;
    namespace: string;
    uid?: string;
    creationTimestamp?: string;
    resourceVersion?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  [field: string]: unknown;
}

interface Event {
  version: number;
  plural: string;
  type: "ADDED" | "MODIFIED" | "DELETED";
  object: FakeObject;
}

/** @param ownPort one that nobody takes while it is down; 0 = any */
export async function startFakeKube(ownPort = 0): Promise<FakeKube> {
  const objects = new Map<string, Map<string, FakeObject>>();
  let events: Event[] = [];
  let oldest = 0;
  let version = 1;
  const watchers = new Set<{ plural: string; reply: ServerResponse }>();
  const lists = new Map<string, number>();
  const of = (plural: string) => {
    let found = objects.get(plural);
    if (!found) objects.set(plural, (found = new Map()));
    return found;
  };
  const emit = (plural: string, type: Event["type"], object: FakeObject) => {
    version += 1;
    const stamped = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    events.push({ version, plural, type, object: stamped });
    for (const watcher of watchers) {
      if (watcher.plural === plural) watcher.reply.write(`${JSON.stringify({ type, object: stamped })}\n`);
    }
    return stamped;
  };
  const handle = (url: URL, reply: ServerResponse) => {
    const plural = url.pathname.split("/").at(-1) ?? "";
    if (url.searchParams.get("watch") !== "true") {
      lists.set(plural, (lists.get(plural) ?? 0) + 1);
      const body = { metadata: { resourceVersion: String(version) }, items: [...of(plural).values()] };
      reply.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
      return;
    }
    const from = Number(url.searchParams.get("resourceVersion") ?? "0");
    reply.writeHead(200, { "content-type": "application/json" });
    reply.flushHeaders();
    if (from < oldest) {
      const status = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" };
      reply.end(`${JSON.stringify({ type: "ERROR", object: status })}\n`);
      return;
    }
    for (const event of events)
      if (event.plural === plural && event.version > from)
        reply.write(`${JSON.stringify({ type: event.type, object: event.object })}\n`);
    const watcher = { plural, reply };
    watchers.add(watcher);
    reply.on("close", () => watchers.delete(watcher));
  };
  // Connections are kept: one that is given up while a client sends on it looks like a fault.
  const serve = () =>
    createServer({ keepAliveTimeout: 0 }, (request, reply) =>
      handle(new URL(request.url ?? "/", "http://kube"), reply),
    );
  let server = serve();
  const listen = (port: number) =>
    new Promise<number>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
    });
  const port = await listen(ownPort);
  const down = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    put: (plural, object) => {
      const key = `${object.metadata.namespace}/${object.metadata.name}`;
      const type = of(plural).has(key) ? "MODIFIED" : "ADDED";
      of(plural).set(key, emit(plural, type, object));
    },
    remove: (plural, namespace, name) => {
      const key = `${namespace}/${name}`;
      const object = of(plural).get(key);
      of(plural).delete(key);
      if (object) emit(plural, "DELETED", object);
    },
    get: (plural, namespace, name) => of(plural).get(`${namespace}/${name}`),
    breakWatches: () => {
      for (const watcher of watchers) watcher.reply.destroy();
    },
    compact: () => {
      events = [];
      oldest = version + 1;
    },
    lists: (plural) => lists.get(plural) ?? 0,
    down,
    up: async () => {
      server = serve();
      await listen(port);
    },
    close: down,
  };
}
