import { Readable } from "node:stream";
import { Pool } from "undici";
import { HEADER_TIMEOUT_MS } from "../../api/headers.ts";
import { PodHealth, PodStatus } from "../../api/wire/pod.ts";
import {
  SPECIALIZE_CONTENT_TYPE,
  SpecializeError,
  SpecializeReply,
  type SpecializeRequest,
} from "../../api/wire/specialize.ts";

/** What became of one specialisation, as far as the caller can know. */
export type SpecializeOutcome =
  | { readonly kind: "done"; readonly loadMs: number }
  /** The code is at fault; the pod is spent. */
  | { readonly kind: "rejected"; readonly error: SpecializeError }
  /** The pod is specialised already, or is another pod than the one meant. */
  | { readonly kind: "taken" }
  /** Nothing was sent: the pod does not accept connections. */
  | { readonly kind: "unreachable"; readonly message: string }
  /** The connection ended without an answer: the process died, or gave the connection up. */
  | { readonly kind: "lost"; readonly message: string }
  | { readonly kind: "timeout" }
  /** An answer that the protocol does not know, e.g. 401 after a change of keys. */
  | { readonly kind: "refused"; readonly message: string };

/** Control calls to one pod. None of them throws for what a pod may do; a pod that does not answer gives `undefined`. */
export interface PodCalls {
  /** Undefined also when the pod answers that it is not ready. */
  health(timeoutMs: number): Promise<PodHealth | undefined>;
  /** `refused`: nothing listens at the address, so a pod that ran before has ended. */
  status(timeoutMs: number): Promise<PodStatus | "refused" | undefined>;
  specialize(request: SpecializeRequest, archive: Uint8Array, timeoutMs: number): Promise<SpecializeOutcome>;
  /** The status after the call: state `retired` means that the pod was idle and refuses everything from now on. */
  retire(ifIdleForMs: number, timeoutMs: number): Promise<PodStatus | undefined>;
  /** Whether the pod accepted: it refuses new requests, finishes the running ones and exits. */
  drain(timeoutMs: number): Promise<boolean>;
  close(): void;
}

const MAX_REPLY_BYTES = 1024 * 1024;
const INLINE_BYTES = 1024 * 1024;
const CONNECT_TIMEOUT_MS = 1_000;
/** What a pod may take to say that a module did not load in time. */
const LOAD_REPLY_MS = 1_000;
/** Longer than the pause between two status polls, so that the next control call finds its connection open. */
const KEEP_ALIVE_MS = 30_000;
/** One for a specialisation or a drain under way, one for the health check beside it. */
const CONNECTIONS = 2;

/**
 * Calls to the pod at `address` (`ip:port`) over kept-alive connections. `tokens` are tried in order: the first is of the key that
 * signs now, the second of the one before. `functionUid`: the calls are about this function of a pod that several share.
 */
export function podCalls(address: string, tokens: readonly string[], functionUid?: string): PodCalls {
  const query = functionUid === undefined ? "" : `?function=${encodeURIComponent(functionUid)}`;
  const pool = new Pool(`http://${address}`, {
    connections: CONNECTIONS,
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    connect: { timeout: CONNECT_TIMEOUT_MS },
  });
  const call = async (
    method: "GET" | "POST",
    path: string,
    timeoutMs: number,
    send: Send = {},
  ): Promise<Answer> => {
    for (const [index, token] of tokens.entries()) {
      const answer = await once(pool, method, path, timeoutMs, token, send);
      if (answer.status !== 401 || index === tokens.length - 1) return answer;
    }
    throw new RangeError(`Cannot call pod at ${address}: no token is known`);
  };
  const tryCall = async <T>(made: Promise<Answer>, read: (answer: Answer) => T | undefined) => {
    try {
      return read(await made);
    } catch {
      return undefined;
    }
  };
  return {
    health: (timeoutMs) =>
      tryCall(call("GET", "/_isotope/healthz", timeoutMs), (answer) =>
        answer.status === 200 ? parsed(PodHealth, answer) : undefined,
      ),
    status: async (timeoutMs) => {
      try {
        return parsed(PodStatus, await call("GET", `/_isotope/status${query}`, timeoutMs));
      } catch (error) {
        return codeOf(error) === "ECONNREFUSED" ? "refused" : undefined;
      }
    },
    retire: (ifIdleForMs, timeoutMs) =>
      tryCall(call("POST", `/_isotope/retire${query}`, timeoutMs, json({ ifIdleForMs })), (answer) =>
        answer.status === 200 || answer.status === 409 ? parsed(PodStatus, answer) : undefined,
      ),
    drain: async (timeoutMs) =>
      (await tryCall(
        call("POST", `/_isotope/drain${query}`, timeoutMs, json({})),
        (answer) => answer.status === 200,
      )) ?? false,
    specialize: async (request, archive, timeoutMs) => {
      try {
        // The pod gives up first: its log then says why.
        const loadMs = Math.max(Math.floor(timeoutMs * 0.9), timeoutMs - LOAD_REPLY_MS);
        const message = { ...specializeMessage(request, archive), loadMs };
        return outcome(await call("POST", "/v2/specialize", timeoutMs, message));
      } catch (error) {
        return failure(error);
      }
    },
    close: () => void pool.destroy().catch(() => undefined),
  };
}

interface Send {
  readonly contentType?: string;
  readonly body?: Buffer | (() => AsyncIterable<Uint8Array>);
  readonly sizeBytes?: number;
  /** How long the function's module may load. */
  readonly loadMs?: number;
}
interface Answer {
  readonly status: number;
  readonly text: string;
}

const json = (value: unknown): Send => ({
  contentType: "application/json",
  body: Buffer.from(JSON.stringify(value)),
});

/** Length, JSON, archive: one buffer when small, else in pieces so that a large archive is not copied. */
function specializeMessage(request: SpecializeRequest, archive: Uint8Array): Send {
  const text = Buffer.from(JSON.stringify(request));
  const head = Buffer.allocUnsafe(4);
  head.writeUInt32BE(text.length);
  const sizeBytes = 4 + text.length + archive.length;
  if (archive.length <= INLINE_BYTES)
    return {
      contentType: SPECIALIZE_CONTENT_TYPE,
      body: Buffer.concat([head, text, archive], sizeBytes),
      sizeBytes,
    };
  const pieces = async function* () {
    yield head;
    yield text;
    for (let at = 0; at < archive.length; at += INLINE_BYTES) yield archive.subarray(at, at + INLINE_BYTES);
  };
  return { contentType: SPECIALIZE_CONTENT_TYPE, body: pieces, sizeBytes };
}

async function once(
  pool: Pool,
  method: "GET" | "POST",
  path: string,
  timeoutMs: number,
  token: string,
  send: Send,
): Promise<Answer> {
  const reply = await pool.request({
    method,
    path,
    headers: {
      authorization: `Bearer ${token}`,
      ...(send.contentType === undefined ? {} : { "content-type": send.contentType }),
      ...(send.sizeBytes === undefined ? {} : { "content-length": String(send.sizeBytes) }),
      ...(send.loadMs === undefined ? {} : { [HEADER_TIMEOUT_MS]: String(send.loadMs) }),
    },
    body:
      typeof send.body === "function"
        ? Readable.from(send.body(), { objectMode: false })
        : (send.body ?? null),
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    signal: AbortSignal.timeout(timeoutMs),
  });
  return { status: reply.statusCode, text: await boundedText(reply.body) };
}

/** A pod is not trusted: its replies are read up to a cap. */
async function boundedText(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_REPLY_BYTES)
      throw new RangeError(`The pod's reply is larger than ${MAX_REPLY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

interface Shape<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false };
}

function parsed<T>(shape: Shape<T>, answer: Answer): T | undefined {
  try {
    const result = shape.safeParse(JSON.parse(answer.text));
    return result.success ? result.data : undefined;
  } catch {
    return undefined;
  }
}

function outcome(answer: Answer): SpecializeOutcome {
  if (answer.status === 200) {
    const reply = parsed(SpecializeReply, answer);
    if (reply) return { kind: "done", loadMs: reply.loadMs };
  }
  if (answer.status === 409) return { kind: "taken" };
  if (answer.status === 422) {
    const error = parsed(SpecializeError, answer);
    return {
      kind: "rejected",
      error: error ?? { code: "load_failed", message: answer.text.slice(0, 500) || "the pod gave no reason" },
    };
  }
  return { kind: "refused", message: `the pod answered ${answer.status}: ${answer.text.slice(0, 200)}` };
}

const NOT_SENT = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT",
]);
const TIMED_OUT = new Set(["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"]);

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : "";

function failure(error: unknown): SpecializeOutcome {
  const message = error instanceof Error ? error.message : String(error);
  const code = codeOf(error);
  if (NOT_SENT.has(code)) return { kind: "unreachable", message };
  if (TIMED_OUT.has(code) || (error instanceof Error && error.name === "TimeoutError"))
    return { kind: "timeout" };
  return { kind: "lost", message };
}
