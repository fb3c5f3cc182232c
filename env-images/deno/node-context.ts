/** The reference system's Node form: a context with a request as Express has it, its body read and parsed beforehand. */
import { HEADER_PARAMS_PREFIX } from "../../api/headers.ts";
import { fromReplyForm } from "./reply.ts";

/** The body is not what its content type says: 400. */
export class MalformedBody extends Error {
  override readonly name = "MalformedBody";
}

type Query = Record<string, string | string[]>;

/** The part of Express's request that functions of the reference system use. */
export interface ContextRequest {
  readonly method: string;
  readonly url: string;
  readonly originalUrl: string;
  readonly path: string;
  readonly hostname: string;
  readonly protocol: string;
  readonly query: Query;
  readonly params: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
  get(name: string): string | undefined;
  header(name: string): string | undefined;
}

function collect(pairs: Iterable<readonly [string, string]>): Query {
  const result: Query = Object.create(null);
  for (const [name, value] of pairs) {
    const before = result[name];
    result[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
  }
  return result;
}

async function parseBody(request: Request): Promise<unknown> {
  if (request.body === null) return {};
  const type = (request.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  if (type === "application/json" || type.endsWith("+json")) {
    const text = await request.text();
    try {
      return text === "" ? {} : JSON.parse(text);
    } catch (error) {
      throw new MalformedBody(
        `The body is not JSON: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
  if (type === "application/x-www-form-urlencoded") return collect(new URLSearchParams(await request.text()));
  if (type.startsWith("text/")) return request.text();
  const { Buffer } = await import("node:buffer");
  const bytes = Buffer.from(await request.arrayBuffer());
  return bytes.length === 0 ? {} : bytes;
}

/** Reads the body and builds the request. Throws MalformedBody. */
export async function contextRequest(request: Request): Promise<ContextRequest> {
  const url = new URL(request.url);
  const headers: Record<string, string> = Object.create(null);
  const params: Record<string, string> = Object.create(null);
  request.headers.forEach((value, name) => {
    headers[name] = value;
    if (name.startsWith(HEADER_PARAMS_PREFIX)) params[name.slice(HEADER_PARAMS_PREFIX.length)] = value;
  });
  const get = (name: string): string | undefined => {
    const key = name.toLowerCase();
    return key === "referrer" || key === "referer"
      ? (headers["referer"] ?? headers["referrer"])
      : headers[key];
  };
  const target = `${url.pathname}${url.search}`;
  return {
    method: request.method,
    url: target,
    originalUrl: target,
    path: url.pathname,
    hostname: url.hostname,
    protocol: headers["x-forwarded-proto"]?.split(",")[0]?.trim() ?? "http",
    query: collect(url.searchParams),
    params,
    headers,
    body: await parseBody(request),
    get,
    header: get,
  };
}

const HTML = "text/html; charset=utf-8";

/** A reply in the words of Express: text is HTML unless the headers say otherwise. */
export function contextReply(status: unknown, body: unknown, headers: unknown): Response {
  return fromReplyForm(
    status,
    typeof body === "number" || typeof body === "boolean" ? JSON.stringify(body) : body,
    headers,
    HTML,
  );
}

/** The part of Express's response that functions of the reference system use; `finished` resolves with what they sent. */
export class ContextResponse {
  statusCode = 200;
  headersSent = false;
  readonly finished: Promise<Response>;
  readonly #headers = new Headers();
  #chunks = "";
  #finish: (reply: Response) => void = () => {};

  constructor() {
    this.finished = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  status(code: number): this {
    this.statusCode = code;
    return this;
  }
  set(name: string | Record<string, string>, value?: string | readonly string[]): this {
    if (typeof name === "object")
      for (const [key, item] of Object.entries(name)) this.#headers.set(key, String(item));
    else if (Array.isArray(value)) {
      this.#headers.delete(name);
      for (const item of value) this.#headers.append(name, String(item));
    } else this.#headers.set(name, String(value));
    return this;
  }
  header(name: string, value: string): this {
    return this.set(name, value);
  }
  setHeader(name: string, value: string): this {
    return this.set(name, value);
  }
  get(name: string): string | undefined {
    return this.#headers.get(name) ?? undefined;
  }
  append(name: string, value: string): this {
    this.#headers.append(name, value);
    return this;
  }
  type(value: string): this {
    return this.set(
      "content-type",
      value.includes("/") ? value : value === "json" ? "application/json" : `text/${value}`,
    );
  }
  json(value: unknown): this {
    if (!this.#headers.has("content-type")) this.set("content-type", "application/json; charset=utf-8");
    return this.#send(JSON.stringify(value));
  }
  redirect(status: number | string, location?: string): this {
    this.statusCode = typeof status === "number" ? status : 302;
    return this.set("location", typeof status === "number" ? (location ?? "/") : status).#send("");
  }
  sendStatus(code: number): this {
    return this.status(code).type("plain").#send(String(code));
  }
  send(body?: unknown): this {
    return this.#send(body);
  }
  write(chunk: unknown): boolean {
    this.#chunks += String(chunk);
    return true;
  }
  end(chunk?: unknown): this {
    return this.#send(
      chunk === undefined ? this.#chunks : this.#chunks === "" ? chunk : this.#chunks + String(chunk),
    );
  }

  #send(body: unknown): this {
    if (this.headersSent) throw new Error("Cannot send a reply: one was sent before");
    this.headersSent = true;
    this.#finish(contextReply(this.statusCode, body, this.#headers));
    return this;
  }
}
