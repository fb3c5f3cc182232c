import type { ArchiveFormat } from "./archive-format.ts";
import { DEFAULT_ARCHIVE_LIMITS, type ArchiveLimits } from "./archive-limits.ts";
import { readTar } from "./read-tar.ts";
import { readZip } from "./read-zip.ts";

/** One file of an archive. `path` is safe to join to a folder (`safeEntryPath`). */
export interface ArchiveFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  /** The only bit of the mode that is kept: set-user-id and the like never leave the archive. */
  readonly executable: boolean;
}

/** The files of a zip, tar or tar.gz. Throws `ArchiveError`; never yields an unsafe path. */
export function readArchive(
  bytes: Uint8Array,
  format: Exclude<ArchiveFormat, "file">,
  limits: ArchiveLimits = DEFAULT_ARCHIVE_LIMITS,
): AsyncGenerator<ArchiveFile> {
  return format === "zip" ? readZip(bytes, limits) : readTar(bytes, format === "tar.gz", limits);
}
