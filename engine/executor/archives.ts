import { createHash } from "node:crypto";
import { PlatformError } from "../../api/errors.ts";

/** Where archives come from: the storage API. `digest` is sha256 in hex. */
export interface ArchiveSource {
  read(digest: string): Promise<Uint8Array>;
}

export interface ArchiveCache {
  /** The archive's bytes, their digest verified. Throws `archive_unavailable`. */
  read(digest: string): Promise<Uint8Array>;
  readonly sizeBytes: number;
}

/**
 * Memory of the archives read last, up to `capacityBytes`; readers of the same archive share one read.
 * An archive larger than the capacity is read each time.
 */
export function archiveCache(source: ArchiveSource, capacityBytes: number): ArchiveCache {
  const held = new Map<string, Uint8Array>();
  const reading = new Map<string, Promise<Uint8Array>>();
  let sizeBytes = 0;
  const keep = (digest: string, content: Uint8Array) => {
    if (content.length > capacityBytes || held.has(digest)) return;
    held.set(digest, content);
    sizeBytes += content.length;
    for (const [oldest, old] of held) {
      if (sizeBytes <= capacityBytes) break;
      held.delete(oldest);
      sizeBytes -= old.length;
    }
  };
  const fetch = async (digest: string): Promise<Uint8Array> => {
    const content = await readVerified(source, digest);
    keep(digest, content);
    return content;
  };
  return {
    read: (digest) => {
      const found = held.get(digest);
      if (found) {
        held.delete(digest);
        held.set(digest, found);
        return Promise.resolve(found);
      }
      let read = reading.get(digest);
      if (!read) {
        read = fetch(digest).finally(() => reading.delete(digest));
        reading.set(digest, read);
      }
      return read;
    },
    get sizeBytes() {
      return sizeBytes;
    },
  };
}

async function readVerified(source: ArchiveSource, digest: string): Promise<Uint8Array> {
  let content: Uint8Array;
  try {
    content = await source.read(digest);
  } catch (cause) {
    throw new PlatformError(
      "archive_unavailable",
      `Cannot read archive "sha256:${digest}": ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  const actual = createHash("sha256").update(content).digest("hex");
  if (actual !== digest)
    throw new PlatformError(
      "archive_unavailable",
      `Cannot use archive "sha256:${digest}": its content has digest ${actual}`,
    );
  return content;
}
