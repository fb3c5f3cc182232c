import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { PlatformError } from "../../api/errors.ts";
import { backoffMs } from "../../kube/backoff.ts";
import type { SignedReply } from "../../net/signed-client.ts";
import type { ArchiveSource } from "./archives.ts";

/** What is needed of `net/signed-client.ts`. */
export interface ArchiveCaller {
  send(call: { method: "GET"; target: string; timeoutMs: number }): Promise<SignedReply>;
}

const TIMEOUT_MS = 60_000;

/** How long a storage that is away is waited for: its one pod, which holds the disk, is away for seconds while it is replaced. */
const AWAY_MS = 20_000;
const PAUSE = { baseMs: 200, maxMs: 1_000 };
const AWAY = new Set([429, 502, 503, 504]);

/**
 * Reads archives from the storage API, `GET /v1/archive?id=sha256:<hex>`. Whoever asks while the storage is away waits for it, up to `awayMs`, rather
 * than to fail: a first call of a function has patience for more than that.
 */
export function storageArchives(storage: ArchiveCaller, maxBytes: number, awayMs = AWAY_MS): ArchiveSource {
  return {
    read: async (digest) => {
      const target = `/v1/archive?id=sha256:${digest}`;
      const until = performance.now() + awayMs;
      for (let failures = 1; ; failures += 1) {
        const reply = await storage.send({ method: "GET", target, timeoutMs: TIMEOUT_MS }).catch(asError);
        if (!(reply instanceof Error) && reply.status === 200) return readAll(reply.body, maxBytes);
        const error = reply instanceof Error ? reply : refusal(reply);
        const isAway = reply instanceof Error || AWAY.has(reply.status);
        const pauseMs = backoffMs(failures, PAUSE);
        if (!isAway || performance.now() + pauseMs > until) throw error;
        await sleep(pauseMs);
      }
    },
  };
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

function refusal({ status, body }: SignedReply): PlatformError {
  body.destroy();
  return new PlatformError("archive_unavailable", `the storage answered ${status}`);
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
