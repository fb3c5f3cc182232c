import type { Readable } from "node:stream";
import { type Dispatcher, request } from "undici";
import { z } from "zod";
import { ErrorBody } from "../api/wire/error.ts";
import { HEADER_OPS_SEALED, SEALED_HEADERS } from "../api/wire/ops.ts";
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

/** What the API server says when it does not pass a call on. */
const KubeStatus = z.object({ kind: z.literal("Status"), message: z.string() });

const queryString = (query: OpsRequest["query"] = {}): string => {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== "") params.set(name, String(value));
  const text = params.toString();
  return text ? `?${text}` : "";
};

/** Where the operations API is, and what every call to it carries. */
export interface OpsAccess {
  readonly url: string;
  readonly headers: () => Promise<Record<string, string>>;
  /** For an address that needs certificates of its own. */
  readonly dispatcher?: Dispatcher;
}

export function opsClient({ url, headers, dispatcher }: OpsAccess): OpsClient {
  const base = url.replace(/\/+$/, "");
  const send: OpsClient["send"] = async (path, options = {}) => {
    const own = await headers();
    try {
      const reply = await request(`${base}${path}${queryString(options.query)}`, {
        method: options.method ?? "GET",
        headers: { ...own, ...options.headers },
        ...(dispatcher ? { dispatcher } : {}),
        body: options.body ?? null,
        signal: options.signal ?? null,
        bodyTimeout: options.bodyTimeoutMs ?? 300_000,
        headersTimeout: options.bodyTimeoutMs ?? 300_000,
      });
      return {
        status: reply.statusCode,
        headers: unsealed(reply.headers),
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

/** The reply's headers as the operations API meant them. */
function unsealed(headers: OpsReply["headers"]): OpsReply["headers"] {
  const meant = { ...headers };
  for (const name of SEALED_HEADERS) {
    const value = headers[`${HEADER_OPS_SEALED}-${name}`];
    if (value !== undefined) meant[name] = value;
    delete meant[`${HEADER_OPS_SEALED}-${name}`];
  }
  return meant;
}

/** The message inside an error reply of the platform. */
export function errorText(body: string): string | undefined {
  try {
    const parsed = ErrorBody.safeParse(JSON.parse(body));
    if (parsed.success) return parsed.data.message ?? `${parsed.data.component}: ${parsed.data.reason}`;
    return KubeStatus.safeParse(JSON.parse(body)).data?.message;
  } catch {
    return undefined;
  }
}
