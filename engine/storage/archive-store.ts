import type { Readable } from "node:stream";

/** Largest archive that is stored unless set otherwise, in bytes. */
export const DEFAULT_MAX_ARCHIVE_BYTES = 256 * 2 ** 20;

export interface StoredArchive {
  /** sha256 of the content, 64 lower-case hex digits. */
  readonly digest: string;
  readonly sizeBytes: number;
  /** When it was uploaded last, also if it was there before; milliseconds since the epoch. */
  readonly uploadedAtMs: number;
}

export interface PutOptions {
  /** What the content is said to be; an upload that differs is refused and leaves nothing. */
  readonly sha256?: string | undefined;
  readonly sizeBytes?: number | undefined;
}

/** Bytes `start` to `end`, both included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Archives by their content's digest. Every implementation passes `test/storage/archive-store-conformance.ts`.
 * Errors are `PlatformError`s: archive_not_found, archive_invalid (digest or size differs from what was said),
 * archive_too_large, storage_full, archive_unavailable (cannot be read, or its content is no longer what its digest says).
 */
export interface ArchiveStore {
  /** Name of the storage type for `X-FISSION-STORAGETYPE`, and of the bucket where there is one. */
  readonly kind: { readonly type: string; readonly bucket: string };
  /** Stores all of `content` durably, or nothing. `created` is false when the content was there already. */
  put(
    content: AsyncIterable<Uint8Array>,
    options?: PutOptions,
  ): Promise<{ readonly archive: StoredArchive; readonly created: boolean }>;
  find(digest: string): Promise<StoredArchive | undefined>;
  /**
   * The content, or a range of it. The whole content is verified on the way: small archives before the first byte, large ones
   * before the last, so that a reader never sees a complete answer with a wrong content. A range of a large archive is not verified.
   */
  open(digest: string, range?: ByteRange): Promise<Readable>;
  list(): Promise<StoredArchive[]>;
  /**
   * Removes an archive unless it was uploaded at or after `uploadedBeforeMs`. Returns whether it was removed.
   * An upload of the same content at the same time wins: it is never lost.
   */
  remove(digest: string, uploadedBeforeMs?: number): Promise<boolean>;
}

const DIGEST = /^(?:sha256:)?([0-9a-f]{64})$/;

/** The 64 hex digits of an archive id (`sha256:<hex>` or bare); undefined if it is none. */
export function digestOf(id: string): string | undefined {
  return DIGEST.exec(id)?.[1];
}

/** The id that users and Packages see. */
export function archiveId(digest: string): string {
  return `sha256:${digest}`;
}
