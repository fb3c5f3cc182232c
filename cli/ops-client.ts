import type { Readable } from "node:stream";
import { request } from "undici";
import { ErrorBody } from "../api/wire/error.ts";
import { CliError } from "./command.ts";

export interface OpsRequest {
  method?: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  query?: Record<string, string | number | boolean | undefined>;
  headers?: Record<string, string>;
  body?: string | Uint8Array | Readable;
  signal?: AbortSignal;
  /** 0 = none, for streams that may be silent. */
  bodyTimeoutMs?: number;
}

export interface OpsReply {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Readable & { json(): Promise<unknown>; text(): Promise<string>; bytes(): Promise<Uint8Array> };
}

/** Calls to the operations API. */
export interface OpsClient {
  readonly url: string;
  /** Any reply, also an error. @throws {CliError} when the API cannot be reached. */
  send(path: string, options?: OpsRequest): Promise<OpsReply>;
  /** A reply below 300. @throws {CliError} with the reply's own message otherwise. */
  call(path: string, options?: OpsRequest): Promise<OpsReply>;
}

const queryString = (query: OpsRequest["query"] = {}): string => {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== "") params.set(name, String(value));
  const text = params.toString();
  return text ? `?${text}` : "";
};

export function opsClient(url: string, authorization: () => Promise<string | undefined>): OpsClient {
  const base = url.replace(/\/+$/, "");
  const send: OpsClient["send"] = async (path, options = {}) => {
    const token = await authorization();
    try {
      const reply = await request(`${base}${path}${queryString(options.query)}`, {
        method: options.method ?? "GET",
        headers: { ...(token ? { authorization: token } : {}), ...options.headers },
        body: options.body ?? null,
        signal: options.signal ?? null,
        bodyTimeout: options.bodyTimeoutMs ?? 300_000,
        headersTimeout: options.bodyTimeoutMs ?? 300_000,
      });
      return {
        status: reply.statusCode,
        headers: reply.headers,
        body: reply.body as unknown as OpsReply["body"],
      };
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new CliError(
        `Cannot reach the operations API at ${base}: ${error instanceof Error ? error.message : String(error)}`,
        { cause: error },
      );
    }
  };
  return {
    url: base,
    send,
    call: async (path, options) => {
      const reply = await send(path, options);
      if (reply.status < 300) return reply;
      const text = await reply.body.text();
      throw new CliError(
        errorText(text) ??
          `${options?.method ?? "GET"} ${path} answered ${reply.status}: ${text.slice(0, 500)}`,
      );
    },
  };
}

/** The message inside an error reply of the platform. */
export function errorText(body: string): string | undefined {
  try {
    const parsed = ErrorBody.safeParse(JSON.parse(body));
    if (parsed.success) return parsed.data.message ?? `${parsed.data.component}: ${parsed.data.reason}`;
    return undefined;
  } catch {
    return undefined;
  }
}
