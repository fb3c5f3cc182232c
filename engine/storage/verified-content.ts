import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { PlatformError } from "../../api/errors.ts";
import { archiveId, type ByteRange } from "./archive-store.ts";

/** Archives up to this size are read whole and verified before the first byte leaves. */
export const VERIFY_FIRST_BYTES = 8 * 2 ** 20;
const CHUNK_BYTES = 256 * 1024;

/**
 * Streams an archive's file and closes it. A content that does not have its digest ends in `archive_unavailable` before the last
 * chunk (large) or before any (small), after `onCorrupt` ran.
 */
export async function* verifiedContent(
  file: FileHandle,
  digest: string,
  sizeBytes: number,
  range: ByteRange | undefined,
  onCorrupt: () => Promise<void>,
): AsyncGenerator<Buffer> {
  try {
    if (sizeBytes <= VERIFY_FIRST_BYTES) {
      const whole = await file.readFile();
      if (createHash("sha256").update(whole).digest("hex") !== digest) throw await corrupt(digest, onCorrupt);
      yield range ? whole.subarray(range.start, range.end + 1) : whole;
      return;
    }
    if (range) {
      yield* chunks(file, range.start, range.end + 1);
      return;
    }
    const hash = createHash("sha256");
    let held: Buffer | undefined;
    for await (const chunk of chunks(file, 0, sizeBytes)) {
      if (held) yield held;
      hash.update(chunk);
      held = chunk;
    }
    if (hash.digest("hex") !== digest) throw await corrupt(digest, onCorrupt);
    if (held) yield held;
  } finally {
    await file.close();
  }
}

async function* chunks(file: FileHandle, start: number, end: number): AsyncGenerator<Buffer> {
  for (let at = start; at < end; ) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - at));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}

async function corrupt(digest: string, onCorrupt: () => Promise<void>): Promise<PlatformError> {
  await onCorrupt();
  return new PlatformError(
    "archive_unavailable",
    `Archive "${archiveId(digest)}" is damaged: its content no longer has this digest`,
  );
}
