import type { Readable } from "node:stream";
import { createHash } from "node:crypto";
import { PlatformError } from "../../api/errors.ts";
import type { SignedClient } from "../../net/signed-client.ts";

/** The archive store, as far as definitions need it: content by its sha256 (hex). */
export interface DefinitionArchives {
  /** Rejects with `PlatformError` archive_not_found, archive_unavailable. */
  read(digest: string): Promise<Buffer>;
  /** Stores it unless it is there. */
  store(content: Buffer): Promise<void>;
}

const TIMEOUT_MS = 60_000;

/** Archives of the storage process. */
export function storedArchives(storage: Pick<SignedClient, "send">, maxBytes: number): DefinitionArchives {
  return {
    read: async (digest) => {
      const target = `/v1/archive?id=sha256:${digest}`;
      const reply = await storage.send({ method: "GET", target, timeoutMs: TIMEOUT_MS });
      if (reply.status === 200) return readAll(reply.body, maxBytes);
      reply.body.destroy();
      throw reply.status === 404
        ? new PlatformError("archive_not_found", `Archive "sha256:${digest}" does not exist`)
        : new PlatformError("archive_unavailable", `The storage answered ${reply.status}`);
    },
    store: async (content) => {
      const digest = createHash("sha256").update(content).digest("hex");
      const target = `/v1/archive?sha256=${digest}`;
      const reply = await storage.send({ method: "PUT", target, body: content, timeoutMs: TIMEOUT_MS });
      reply.body.resume();
      if (reply.status > 299)
        throw new PlatformError("archive_unavailable", `The storage answered ${reply.status}`);
    },
  };
}

/** What the archive store of the same process is asked: see `engine/storage`. */
export interface ArchiveContents {
  put(content: AsyncIterable<Uint8Array>): Promise<unknown>;
  open(digest: string): Promise<Readable>;
}

/** Archives of a store in this process. */
export function localArchives(store: ArchiveContents, maxBytes: number): DefinitionArchives {
  return {
    read: async (digest) => readAll(await store.open(digest), maxBytes),
    store: async (content) => void (await store.put(once(content))),
  };
}

// oxlint-disable-next-line typescript/require-await -- the store takes streams
async function* once(content: Buffer): AsyncGenerator<Uint8Array> {
  yield content;
}

async function readAll(body: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes)
      throw new PlatformError("archive_unavailable", `The archive is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}
