import { createHash } from "node:crypto";
import { PlatformError } from "../../api/errors.ts";
import { archiveId, type ByteRange } from "./archive-store.ts";

/** Contents up to this size are read whole and verified before the first byte leaves. */
export const VERIFY_FIRST_BYTES = 8 * 2 ** 20;

/** Where a stored content's bytes are read from. */
export interface ContentSource {
  readonly sizeBytes: number;
  /** Bytes from `start` up to, not including, `end`. */
  bytes(start: number, end: number): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/**
 * Streams a content and closes its source. One that does not have its digest ends before the last chunk (large) or before any (small) in the error that
 * `corrupt` resolves with.
 */
export async function* verifiedContent(
  source: ContentSource,
  digest: string,
  range: ByteRange | undefined,
  corrupt: () => Promise<Error>,
  verifyFirstBytes = VERIFY_FIRST_BYTES,
): AsyncGenerator<Uint8Array> {
  const { sizeBytes } = source;
  try {
    if (sizeBytes <= verifyFirstBytes) {
      const whole = await readWhole(source);
      if (createHash("sha256").update(whole).digest("hex") !== digest) throw await corrupt();
      yield range ? whole.subarray(range.start, range.end + 1) : whole;
      return;
    }
    if (range) {
      yield* source.bytes(range.start, range.end + 1);
      return;
    }
    const hash = createHash("sha256");
    let held: Uint8Array | undefined;
    for await (const chunk of source.bytes(0, sizeBytes)) {
      if (held) yield held;
      hash.update(chunk);
      held = chunk;
    }
    if (hash.digest("hex") !== digest) throw await corrupt();
    if (held) yield held;
  } finally {
    await source.close();
  }
}

async function readWhole(source: ContentSource): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source.bytes(0, source.sizeBytes)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export const damagedArchive = (digest: string): PlatformError =>
  new PlatformError(
    "archive_unavailable",
    `Archive "${archiveId(digest)}" is damaged: its content no longer has this digest`,
  );
