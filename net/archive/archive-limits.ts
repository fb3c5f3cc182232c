import { ArchiveError } from "./archive-error.ts";

/** What an archive may hold at most. Sizes in bytes, uncompressed unless said otherwise. */
export interface ArchiveLimits {
  /** Files and folders together. */
  readonly maxEntries: number;
  readonly maxFileBytes: number;
  readonly maxTotalBytes: number;
  /** Uncompressed : compressed. Looked at once `ratioFloorBytes` have come out, so that small, very regular files pass. */
  readonly maxRatio: number;
  readonly ratioFloorBytes: number;
  /** Folders in one path. */
  readonly maxDepth: number;
  readonly maxPathBytes: number;
}

export const DEFAULT_ARCHIVE_LIMITS: ArchiveLimits = {
  maxEntries: 20_000,
  maxFileBytes: 256 * 2 ** 20,
  maxTotalBytes: 512 * 2 ** 20,
  maxRatio: 100,
  ratioFloorBytes: 4 * 2 ** 20,
  maxDepth: 32,
  maxPathBytes: 1024,
};

/** Counts what comes out of one archive and throws as soon as a limit is passed. */
export class ArchiveBudget {
  private entries = 0;
  private totalBytes = 0;
  readonly limits: ArchiveLimits;
  private readonly compressedBytes: number;

  constructor(limits: ArchiveLimits, compressedBytes: number) {
    this.limits = limits;
    this.compressedBytes = compressedBytes;
  }

  countEntry(): void {
    this.entries += 1;
    if (this.entries > this.limits.maxEntries) {
      throw new ArchiveError("entries", `The archive has more than ${this.limits.maxEntries} entries`);
    }
  }

  checkFileSize(path: string, bytes: number): void {
    if (bytes > this.limits.maxFileBytes) {
      throw new ArchiveError(
        "file_size",
        `Entry "${path}" has more than the ${this.limits.maxFileBytes} bytes that one file may have`,
      );
    }
  }

  countBytes(bytes: number): void {
    this.totalBytes += bytes;
    this.checkTotal(this.totalBytes);
  }

  /** Checks a total that is declared or measured elsewhere, e.g. the length of a decompressed tar stream. */
  checkTotal(totalBytes: number): void {
    if (totalBytes > this.limits.maxTotalBytes) {
      throw new ArchiveError(
        "total_size",
        `The archive unpacks to more than ${this.limits.maxTotalBytes} bytes`,
      );
    }
    const allowed = this.compressedBytes * this.limits.maxRatio;
    if (totalBytes > this.limits.ratioFloorBytes && totalBytes > allowed) {
      throw new ArchiveError(
        "ratio",
        `The archive unpacks to more than ${this.limits.maxRatio} times its size`,
      );
    }
  }
}
