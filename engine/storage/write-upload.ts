import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { PlatformError } from "../../api/errors.ts";
import { archiveId, type PutOptions } from "./archive-store.ts";

export interface WrittenUpload {
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface UploadTarget {
  readonly maxBytes: number;
  /** Opens files for writing; tests put a full disk here. */
  readonly openFile: typeof open;
  /** Default `archive`. */
  readonly what?: UploadKind;
}

type UploadKind = "archive" | "payload";

const TOO_LARGE = { archive: "archive_too_large", payload: "body_too_large" } as const;
const INVALID = { archive: "archive_invalid", payload: "bad_request" } as const;

/**
 * Writes an upload to a file of its own, synced, counted and digested.
 * @throws {PlatformError} archive_too_large and archive_invalid; of a payload body_too_large and bad_request
 */
export async function writeUpload(
  target: UploadTarget,
  path: string,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  expected: PutOptions,
): Promise<WrittenUpload> {
  const { maxBytes, what = "archive" } = target;
  if ((expected.sizeBytes ?? 0) > maxBytes) throw tooLarge(what, maxBytes);
  const hash = createHash("sha256");
  let sizeBytes = 0;
  const file = await target.openFile(path, "wx", 0o600);
  try {
    for await (const chunk of content) {
      sizeBytes += chunk.byteLength;
      if (sizeBytes > maxBytes) throw tooLarge(what, maxBytes);
      hash.update(chunk);
      await writeAll(file, chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  const written = { digest: hash.digest("hex"), sizeBytes };
  checkExpected(what, written, expected);
  return written;
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.byteLength; ) {
    const { bytesWritten } = await file.write(chunk, at, chunk.byteLength - at);
    at += bytesWritten;
  }
}

function checkExpected(what: UploadKind, written: WrittenUpload, expected: PutOptions): void {
  if (expected.sizeBytes !== undefined && expected.sizeBytes !== written.sizeBytes) {
    throw new PlatformError(
      INVALID[what],
      `Cannot store the ${what}: ${expected.sizeBytes} bytes were announced, ${written.sizeBytes} arrived`,
    );
  }
  if (expected.sha256 !== undefined && expected.sha256 !== written.digest) {
    throw new PlatformError(
      INVALID[what],
      `Cannot store the ${what}: its sha256 is ${written.digest}, announced was ${expected.sha256}`,
    );
  }
}

const tooLarge = (what: UploadKind, maxBytes: number): PlatformError =>
  new PlatformError(TOO_LARGE[what], `Cannot store the ${what}: at most ${maxBytes} bytes are allowed`);

export const errno = (error: unknown): unknown =>
  error instanceof Error && "code" in error ? error.code : undefined;

export const archiveNotFound = (digest: string): PlatformError =>
  new PlatformError("archive_not_found", `Archive "${archiveId(digest)}" does not exist`);

/** A full disk as `storage_full`; everything else as it is. */
export function diskError(error: unknown): unknown {
  const code = errno(error);
  if (code === "ENOSPC" || code === "EDQUOT")
    return new PlatformError("storage_full", undefined, { cause: error });
  return error;
}
