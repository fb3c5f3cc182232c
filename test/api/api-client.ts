import { readFileSync } from "node:fs";
import { Agent, request as httpsRequest, type RequestOptions } from "node:https";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { parse as parseYaml } from "yaml";

// oxlint-disable-next-line typescript/no-explicit-any -- bodies of many kinds are read field by field
export type Body = { [key: string]: any };

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Body;
  text: string;
}

export interface RequestExtras {
  contentType?: string;
  accept?: string;
  headers?: Record<string, string>;
  /** Instead of the connection's own; "" sends none. */
  token?: string;
}

export interface WatchEvent {
  type: string;
  object: Body;
}

export interface Watch {
  status: number;
  events: WatchEvent[];
  /** Waits until an event fits; rejects after a minute with what came. */
  until(fits: (event: WatchEvent) => boolean): Promise<WatchEvent>;
  /** Resolves when the server ended the stream. */
  ended: Promise<void>;
  close(): void;
}

/** A connection to an API server: what a kubeconfig says and nothing more. */
export interface Connection {
  request(method: string, path: string, body?: unknown, extras?: RequestExtras): Promise<Answer>;
  /** `onEvent` is told of each event as it comes. */
  watch(path: string, extras?: RequestExtras, onEvent?: (event: WatchEvent) => void): Promise<Watch>;
  close(): void;
}

interface Kubeconfig {
  "current-context": string;
  contexts: { name: string; context: { cluster: string; user: string } }[];
  clusters: { name: string; cluster: Record<string, string> }[];
  users: { name: string; user: Record<string, string> }[];
}

const fromBase64 = (text: string | undefined): Buffer | undefined =>
  text === undefined ? undefined : Buffer.from(text, "base64");

const WAIT_MS = 60_000;

/** Opens the current context of a kubeconfig (token or client certificate). */
export function openConnection(kubeconfigPath: string): Connection {
  const config = parseYaml(readFileSync(kubeconfigPath, "utf8")) as Kubeconfig;
  const context = config.contexts.find((each) => each.name === config["current-context"])?.context;
  const cluster = config.clusters.find((each) => each.name === context?.cluster)?.cluster;
  const user = config.users.find((each) => each.name === context?.user)?.user;
  if (!cluster?.server)
    throw new Error(`Cannot use "${kubeconfigPath}": its current context names no server`);
  const url = new URL(cluster.server);
  const server = {
    keepAlive: true,
    // A burst waits for a connection rather than opening hundreds.
    maxSockets: 24,
    ca: fromBase64(cluster["certificate-authority-data"]),
  };
  const agent = new Agent({
    ...server,
    cert: fromBase64(user?.["client-certificate-data"]),
    key: fromBase64(user?.["client-key-data"]),
  });
  /** For requests in another's name, which the certificate would overrule. */
  const bareAgent = new Agent(server);

  const send = (
    method: string,
    path: string,
    body: unknown,
    extras: RequestExtras,
  ): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const token = extras.token ?? user?.token;
      const content =
        body === undefined
          ? undefined
          : typeof body === "string" || Buffer.isBuffer(body)
            ? body
            : JSON.stringify(body);
      const options: RequestOptions = {
        method,
        host: url.hostname,
        port: url.port,
        path,
        agent: extras.token === undefined ? agent : bareAgent,
        headers: {
          accept: extras.accept ?? "application/json",
          ...(content === undefined
            ? {}
            : {
                "content-type": extras.contentType ?? "application/json",
                "content-length": Buffer.byteLength(content),
              }),
          ...(token ? { authorization: `Bearer ${token}` } : {}),
          ...extras.headers,
        },
      };
      const sent = httpsRequest(options, resolve);
      sent.on("error", reject);
      sent.end(content);
    });

  return {
    async request(method, path, body, extras = {}) {
      const message = await send(method, path, body, extras);
      const chunks: Buffer[] = [];
      for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString();
      const type = message.headers["content-type"];
      // The index of OpenAPI v3 comes without a type that tells what it is.
      const isJson =
        type?.startsWith("application/json") || (!type?.startsWith("application/") && text.startsWith("{"));
      return {
        status: message.statusCode ?? 0,
        headers: message.headers,
        body: isJson && text ? (JSON.parse(text) as Body) : {},
        text,
      };
    },
    async watch(path, extras = {}, onEvent = () => undefined) {
      return readWatch(await send("GET", path, undefined, extras), onEvent);
    },
    close: () => {
      agent.destroy();
      bareAgent.destroy();
    },
  };
}

function readWatch(message: IncomingMessage, onEvent: (event: WatchEvent) => void): Watch {
  const events: WatchEvent[] = [];
  const waiting = new Set<() => void>();
  let rest = "";
  message.setEncoding("utf8");
  message.on("data", (chunk: string) => {
    rest += chunk;
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.trim() === "") continue;
      const event = JSON.parse(line) as WatchEvent;
      events.push(event);
      onEvent(event);
    }
    for (const wake of waiting) wake();
  });
  message.on("error", () => undefined);
  const ended = new Promise<void>((resolve) => {
    message.on("close", resolve);
    message.on("end", resolve);
  });
  return {
    status: message.statusCode ?? 0,
    events,
    ended,
    until: (fits) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(look);
          reject(new Error(`no such event among ${JSON.stringify(events).slice(0, 2000)}`));
        }, WAIT_MS);
        const look = (): void => {
          const found = events.find(fits);
          if (!found) return;
          clearTimeout(timer);
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
    close: () => message.destroy(),
  };
}

/** Asks again until the answer fits; fails after a while with the last one. */
export async function eventually(
  ask: () => Promise<Answer>,
  fits: (answer: Answer) => boolean,
  waitMs = WAIT_MS,
): Promise<Answer> {
  const endMs = Date.now() + waitMs;
  for (;;) {
    const answer = await ask();
    if (fits(answer)) return answer;
    if (Date.now() > endMs) throw new Error(`still ${answer.status}: ${answer.text.slice(0, 1000)}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
