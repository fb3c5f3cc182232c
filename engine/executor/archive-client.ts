import type { Readable } from "node:stream";
import { PlatformError } from "../../api/errors.ts";
import type { SignedReply } from "../../net/signed-client.ts";
import type { ArchiveSource } from "./archives.ts";

/** What is needed of `net/signed-client.ts`. */
export interface ArchiveCaller {
  send(call: { method: "GET"; target: string; timeoutMs: number }): Promise<SignedReply>;
}

const TIMEOUT_MS = 60_000;

/** Reads archives from the storage API, `GET /v1/archive?id=sha256:<hex>`. */
export function storageArchives(storage: ArchiveCaller, maxBytes: number): ArchiveSource {
  return {
    read: async (digest) => {
      const target = `/v1/archive?id=sha256:${digest}`;
      const reply = await storage.send({ method: "GET", target, timeoutMs: TIMEOUT_MS });
      if (reply.status !== 200) {
        reply.body.destroy();
        throw new PlatformError("archive_unavailable", `the storage answered ${reply.status}`);
      }
      return readAll(reply.body, maxBytes);
    },
  };
}

async function readAll(body: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes)
      throw new PlatformError("archive_unavailable", `it is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, sizeBytes);
}
