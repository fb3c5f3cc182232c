import type { Readable } from "node:stream";
import { Agent, type Dispatcher } from "undici";
import type { z } from "zod";
import { type ErrorCode, PlatformError } from "../api/errors.ts";
import type { KeyRing } from "./keys.ts";
import { parseJson } from "./parse-json.ts";
import { refusal } from "./refusal.ts";
import { EMPTY_SHA256, type Signer, sha256Hex, signer } from "./sign.ts";

export interface SignedClientOptions {
  readonly keys: KeyRing;
  /** `http://host:port` of the receiver. */
  readonly origin: string;
  /** The receiver's identity, e.g. `executor`. */
  readonly audience: string;
  /** Code of the error thrown when the receiver cannot be reached or does not speak the protocol. */
  readonly unavailable: ErrorCode;
  /** Default 30,000. */
  readonly timeoutMs?: number;
  /** Open connections at most; default 64. */
  readonly connections?: number;
}

export interface SignedCall {
  readonly method: Dispatcher.HttpMethod;
  readonly target: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
  /** A body of known digest, streamed; not together with `body`. */
  readonly stream?: { readonly content: Readable; readonly sha256: string; readonly sizeBytes: number };
  /** `signal`: nothing but the signal ends it, which costs less. */
  readonly timeoutMs?: number | "signal";
  readonly signal?: AbortSignal;
}

export interface SignedReply {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  /** The body; the caller must consume or destroy it. */
  readonly body: Readable;
}

export interface SignedClient {
  /** One signed call; any status is a reply. Throws `PlatformError(unavailable)` when there is none. */
  send(call: SignedCall): Promise<SignedReply>;
  /** Posts JSON and reads a JSON reply of the given shape. A reply that is not 2xx throws the `PlatformError` that its body names. */
  postJson<T>(target: string, body: unknown, shape: z.ZodType<T>, call?: JsonCallOptions): Promise<T>;
  getJson<T>(target: string, shape: z.ZodType<T>, call?: JsonCallOptions): Promise<T>;
  close(): Promise<void>;
}

interface JsonCallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly requestId?: string;
}

const MAX_JSON_REPLY_BYTES = 16 * 1024 * 1024;

/** Client of one receiver with kept-alive connections; every call is signed anew. */
export function signedClient(options: SignedClientOptions): SignedClient {
  const sign = signer(options.keys, options.audience);
  const agent = new Agent({
    connections: options.connections ?? 64,
    keepAliveTimeout: 30_000,
    keepAliveMaxTimeout: 30_000,
    connect: { timeout: 5_000 },
  });
  const send = (call: SignedCall) => sendSigned(agent, sign, options, call);
  const json = async <T>(call: SignedCall, shape: z.ZodType<T>, given: JsonCallOptions = {}): Promise<T> => {
    const headers = {
      ...call.headers,
      ...(given.requestId ? { "x-fission-request-id": given.requestId } : {}),
    };
    const reply = await send({
      ...call,
      headers,
      ...(given.timeoutMs === undefined ? {} : { timeoutMs: given.timeoutMs }),
      ...(given.signal ? { signal: given.signal } : {}),
    });
    const text = await readText(reply.body, options);
    if (reply.status < 200 || reply.status > 299)
      throw refusal(reply, text, options.audience, options.unavailable);
    const parsed = shape.safeParse(parseJson(text));
    if (parsed.success) return parsed.data;
    throw new PlatformError(
      options.unavailable,
      `Cannot understand the reply of "${options.audience}" to ${call.method} ${call.target}: ${parsed.error.message}`,
    );
  };
  return {
    send,
    postJson: (target, body, shape, given) =>
      json(
        {
          method: "POST",
          target,
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        },
        shape,
        given,
      ),
    getJson: (target, shape, given) => json({ method: "GET", target }, shape, given),
    close: () => agent.destroy(),
  };
}

function limited(signal: AbortSignal | undefined, timeoutMs: number): AbortSignal {
  const timeout = AbortSignal.timeout(timeoutMs);
  return signal ? AbortSignal.any([timeout, signal]) : timeout;
}

async function sendSigned(
  agent: Dispatcher,
  sign: Signer,
  options: SignedClientOptions,
  call: SignedCall,
): Promise<SignedReply> {
  const timeoutMs = call.timeoutMs === "signal" ? 0 : (call.timeoutMs ?? options.timeoutMs ?? 30_000);
  const bodySha256 = call.stream?.sha256 ?? (call.body === undefined ? EMPTY_SHA256 : sha256Hex(call.body));
  const signal = timeoutMs === 0 ? call.signal : limited(call.signal, timeoutMs);
  try {
    const { statusCode, headers, body } = await agent.request({
      origin: options.origin,
      path: call.target,
      method: call.method,
      headers: {
        ...call.headers,
        ...(call.stream ? { "content-length": String(call.stream.sizeBytes) } : {}),
        ...sign({ method: call.method, target: call.target, bodySha256 }),
      },
      body: call.stream?.content ?? call.body ?? null,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      ...(signal ? { signal } : {}),
    });
    return { status: statusCode, headers, body };
  } catch (cause) {
    throw new PlatformError(
      options.unavailable,
      `Cannot reach "${options.audience}" at ${options.origin}: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

async function readText(body: Readable, options: SignedClientOptions): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body) {
      if (!Buffer.isBuffer(chunk)) continue;
      size += chunk.length;
      if (size > MAX_JSON_REPLY_BYTES)
        throw new RangeError(`its reply is larger than ${MAX_JSON_REPLY_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (cause) {
    throw new PlatformError(
      options.unavailable,
      `Cannot read the reply of "${options.audience}": ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  return Buffer.concat(chunks).toString("utf8");
}
