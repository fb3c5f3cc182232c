import { PassThrough, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import tar from "tar-stream";
import { ArchiveError } from "./archive-error.ts";
import { ArchiveBudget, type ArchiveLimits } from "./archive-limits.ts";
import { EntryNames, safeEntryPath } from "./entry-path.ts";
import type { ArchiveFile } from "./read-archive.ts";

/** PAX keywords whose meaning we know; a keyword that changes how content is to be read may not be ignored. */
function refuseSparse(path: string, pax: unknown): void {
  for (const key of Object.keys(typeof pax === "object" && pax !== null ? pax : {})) {
    if (key.startsWith("GNU.sparse."))
      throw new ArchiveError("type", `Entry "${path}" is a sparse file; pack it whole`);
  }
}

interface TarHeader {
  readonly name: string;
  readonly size?: number | undefined;
  readonly mode?: number | undefined;
  readonly type?: string | null | undefined;
  readonly pax?: unknown;
}

function isFolder(header: TarHeader, path: string): boolean {
  switch (header.type) {
    case "file":
    case "contiguous-file":
      return header.name.endsWith("/");
    case "directory":
      return true;
    default:
      throw new ArchiveError(
        "type",
        `Entry "${path}" is of type ${header.type ?? "unknown"}; allowed are files and folders`,
      );
  }
}

async function readContent(
  entry: AsyncIterable<unknown>,
  path: string,
  budget: ArchiveBudget,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of entry) {
    if (!(chunk instanceof Uint8Array)) continue;
    size += chunk.length;
    budget.checkFileSize(path, size);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

/**
 * Reads a tar or tar.gz from memory, entry by entry. A tar has no directory, so files before a bad entry have been
 * yielded when `ArchiveError` is thrown: unpack into a folder that is renamed at the end only (`extractArchive`).
 */
export async function* readTar(
  bytes: Uint8Array,
  gzipped: boolean,
  limits: ArchiveLimits,
): AsyncGenerator<ArchiveFile> {
  const budget = new ArchiveBudget(limits, bytes.length);
  const names = new EntryNames();
  const extract = tar.extract();
  let unpackedBytes = 0;
  async function* counted(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of source) {
      unpackedBytes += chunk.length;
      budget.checkTotal(unpackedBytes);
      yield chunk;
    }
  }
  const source = Readable.from(chunksOf(bytes), { objectMode: false });
  const unpacked = pipeline(source, gzipped ? createGunzip() : new PassThrough(), counted, extract);
  // The loop below meets the same failure through the extractor; unhandled here it would end the process.
  unpacked.catch(() => {});
  try {
    for await (const entry of extract) {
      const header: TarHeader = entry.header;
      budget.countEntry();
      const path = safeEntryPath(header.name, limits);
      refuseSparse(path, header.pax);
      if (isFolder(header, path)) {
        if ((header.size ?? 0) > 0)
          throw new ArchiveError("mismatch", `Entry "${path}" is a folder that has content`);
        names.addFolder(path);
        entry.resume();
        continue;
      }
      if (path === "") throw new ArchiveError("path", `Entry ${JSON.stringify(header.name)} has no name`);
      names.addFile(path);
      budget.checkFileSize(path, header.size ?? 0);
      const content = await readContent(entry, path, budget);
      yield { path, bytes: content, executable: ((header.mode ?? 0) & 0o111) !== 0 };
    }
    await unpacked;
  } catch (error) {
    if (error instanceof ArchiveError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new ArchiveError("format", `The tar archive cannot be read: ${reason}`, { cause: error });
  } finally {
    source.destroy();
    extract.destroy();
  }
}

function* chunksOf(bytes: Uint8Array): Generator<Uint8Array> {
  const step = 256 * 1024;
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}
