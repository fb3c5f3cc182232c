import { createHash, randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { PlatformError } from "../api/errors.ts";
import { type Payload, PayloadKept, PAYLOADS_PATH, payloadOf, payloadRef } from "../api/wire/payloads.ts";
import { refusal } from "./refusal.ts";
import type { SignedCall, SignedClient } from "./signed-client.ts";

/**
 * Large contents in the storage, by a reference. Every method throws `PlatformError`: storage_unavailable while the storage is away, storage_full when it
 * takes no more.
 */
export interface Payloads {
  /** Resolves with the reference once it is durable. It is gone after `keptMs`, whoever still has the reference. */
  put(namespace: string, content: Uint8Array, keptMs: number): Promise<string>;
  /** Undefined when it is gone. */
  read(ref: string): Promise<Buffer | undefined>;
  open(ref: string): Promise<{ readonly content: Readable; readonly sizeBytes: number } | undefined>;
  /** A reference to the same content for at least so long: another one, unless this one will do. Undefined when it is gone. */
  keep(ref: string, keptMs: number): Promise<string | undefined>;
  /** Before its time; one that is gone is no error. */
  remove(ref: string): Promise<void>;
}

/** Where payloads are: the storage of this process, or the one that is called. Errors as `engine/storage/payload-store.ts` says. */
export interface PayloadKeeper {
  put(payload: Payload, content: Uint8Array): Promise<void>;
  /** @param timeoutMs until its last byte */
  open(payload: Payload, timeoutMs: number): Promise<Readable>;
  keep(payload: Payload, expiresAtMs: number): Promise<Payload>;
  remove(payload: Payload): Promise<void>;
}

/** Clocks differ, and what was asked to be kept a moment ago needs no other name: they are kept for somewhat longer. */
const SLACK_MS = 24 * 3_600_000;
const TRANSFER_MS = 30_000;
/** Whoever reads may be slow. */
const STREAMED_MS = 15 * 60_000;
const CALL_MS = 10_000;
const RETRY_MS = 2_000;

export function payloads(keeper: PayloadKeeper, now: () => number = Date.now): Payloads {
  const open = async (ref: string, timeoutMs: number): ReturnType<Payloads["open"]> => {
    const payload = payloadOf(ref);
    if (!payload) return undefined;
    const content = await unlessGone(keeper.open(payload, timeoutMs));
    return content && { content, sizeBytes: payload.sizeBytes };
  };
  return {
    put: async (namespace, content, keptMs) => {
      const payload: Payload = {
        namespace,
        expiresAtMs: Math.ceil(now() + keptMs + SLACK_MS),
        id: randomUUID().replaceAll("-", ""),
        sizeBytes: content.length,
        sha256: createHash("sha256").update(content).digest("hex"),
      };
      await keeper.put(payload, content).catch(away);
      return payloadRef(payload);
    },
    open: (ref) => open(ref, STREAMED_MS),
    read: async (ref) => {
      const opened = await open(ref, TRANSFER_MS);
      if (!opened) return undefined;
      return await wholeOf(opened.content, opened.sizeBytes).catch(away);
    },
    keep: async (ref, keptMs) => {
      const payload = payloadOf(ref);
      if (!payload) return undefined;
      const untilMs = Math.ceil(now() + keptMs);
      if (payload.expiresAtMs >= untilMs) return ref;
      const kept = await unlessGone(keeper.keep(payload, untilMs + SLACK_MS));
      return kept && payloadRef(kept);
    },
    remove: async (ref) => {
      const payload = payloadOf(ref);
      if (payload) await keeper.remove(payload).catch(away);
    },
  };
}

/** In one piece from the start: a concatenation would need the room twice. */
async function wholeOf(content: Readable, sizeBytes: number): Promise<Buffer> {
  const whole = Buffer.allocUnsafe(sizeBytes);
  let at = 0;
  for await (const chunk of content as AsyncIterable<Buffer>) {
    if (at + chunk.length <= sizeBytes) whole.set(chunk, at);
    at += chunk.length;
  }
  if (at === sizeBytes) return whole;
  throw new RangeError(`${at} of ${sizeBytes} bytes of a payload came`);
}

const unlessGone = <T>(work: Promise<T>): Promise<T | undefined> =>
  work.catch((error: unknown) =>
    error instanceof PlatformError && error.code === "payload_not_found" ? undefined : away(error),
  );

/** Whatever else is wrong with the storage: it may be well later, as if it could not be reached. */
function away(error: unknown): never {
  if (error instanceof PlatformError && error.code === "storage_full") throw error;
  throw unavailable(error instanceof Error ? error.message : String(error), error);
}

const unavailable = (why: string, cause?: unknown): PlatformError =>
  new PlatformError(
    "storage_unavailable",
    `The storage is needed for bodies and results over 256 KiB: ${why}`,
    {
      cause,
      retryAfterMs: RETRY_MS,
    },
  );

/**
 * The storage process.
 * @param client for the audience of payloads, with `storage_unavailable` for its absence
 */
export function storageKeeper(client: Pick<SignedClient, "send">): PayloadKeeper {
  const call = async (method: SignedCall["method"], path: string, more: Partial<SignedCall> = {}) => {
    const reply = await client.send({
      method,
      target: PAYLOADS_PATH + path,
      timeoutMs: CALL_MS,
      ...more,
    });
    if (reply.status < 300) return reply.body;
    throw refusal(reply, await textOf(reply.body), "storage", "storage_unavailable");
  };
  return {
    put: async (payload, content) => {
      const { sha256, sizeBytes } = payload;
      const send = async (): Promise<Readable> =>
        call("PUT", payloadRef(payload), {
          stream: { content: Readable.from([content], { objectMode: false }), sha256, sizeBytes },
          headers: { "content-type": "application/octet-stream" },
          timeoutMs: TRANSFER_MS,
        });
      // A connection that was kept open may be gone by now. Sending it again is harmless: it has a name of its own.
      const body = await send().catch((error: unknown) => (wasCut(error) ? send() : Promise.reject(error)));
      body.resume();
    },
    open: (payload, timeoutMs) => call("GET", payloadRef(payload), { timeoutMs }),
    keep: async (payload, expiresAtMs) => {
      const body = await call("POST", `${payloadRef(payload)}/keep?until=${expiresAtMs}`);
      const kept = payloadOf(PayloadKept.parse(JSON.parse((await buffer(body)).toString("utf8"))).ref);
      if (kept) return kept;
      throw unavailable("its answer names no payload");
    },
    remove: async (payload) => void (await call("DELETE", payloadRef(payload))).resume(),
  };
}

function wasCut(error: unknown): boolean {
  const cause = error instanceof PlatformError ? error.cause : undefined;
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return code === "UND_ERR_SOCKET" || code === "ECONNRESET" || code === "EPIPE";
}

const textOf = async (body: Readable): Promise<string> => (await buffer(body)).toString("utf8", 0, 4_096);
