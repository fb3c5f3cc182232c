import { crc32, inflateRawSync } from "node:zlib";
import yauzl from "yauzl";
import { ArchiveError } from "./archive-error.ts";
import { ArchiveBudget, type ArchiveLimits } from "./archive-limits.ts";
import { EntryNames, safeEntryPath } from "./entry-path.ts";
import type { ArchiveFile } from "./read-archive.ts";

const STORED = 0;
const DEFLATED = 8;
const FLAG_ENCRYPTED = 0x1;
const FLAG_MASKED_HEADERS = 0x2000;
const EXTRA_UNICODE_PATH = 0x7075;
const HOST_UNIX = 3;
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;

const utf8 = new TextDecoder("utf-8", { fatal: true });

function decodeName(raw: Uint8Array): string {
  try {
    return utf8.decode(raw);
  } catch (cause) {
    throw new ArchiveError(
      "path",
      `Entry name ${JSON.stringify(Buffer.from(raw).toString("latin1"))} is not UTF-8`,
      {
        cause,
      },
    );
  }
}

interface Part {
  readonly entry: yauzl.Entry;
  readonly name: string;
  readonly path: string;
  readonly folder: boolean;
  readonly executable: boolean;
}

/** Looks at one central directory record; throws for every entry that is not a plain file or folder. */
function inspect(entry: yauzl.Entry, limits: ArchiveLimits): Part {
  const name = decodeName(entry.fileNameRaw);
  const path = safeEntryPath(name, limits);
  if (entry.generalPurposeBitFlag & (FLAG_ENCRYPTED | FLAG_MASKED_HEADERS)) {
    throw new ArchiveError("encrypted", `Entry "${path}" is encrypted`);
  }
  if (entry.compressionMethod !== STORED && entry.compressionMethod !== DEFLATED) {
    throw new ArchiveError(
      "method",
      `Entry "${path}" uses compression method ${entry.compressionMethod}; allowed are 0 (stored) and 8 (deflate)`,
    );
  }
  for (const field of entry.extraFields) {
    if (field.id !== EXTRA_UNICODE_PATH) continue;
    if (decodeName(field.data.subarray(5)) !== name) {
      throw new ArchiveError(
        "mismatch",
        `Entry "${path}" has a second, different name in its Unicode path field`,
      );
    }
  }
  const mode = entry.versionMadeBy >>> 8 === HOST_UNIX ? entry.externalFileAttributes >>> 16 : 0;
  const type = mode & S_IFMT;
  const folder = name.endsWith("/");
  if (type !== 0 && type !== (folder ? S_IFDIR : S_IFREG)) {
    throw new ArchiveError(
      "type",
      `Entry "${path}" is a link or special file; allowed are files and folders`,
    );
  }
  if (folder && entry.uncompressedSize !== 0) {
    throw new ArchiveError("mismatch", `Entry "${path}" is a folder that has content`);
  }
  if (!folder && path === "") throw new ArchiveError("path", `Entry ${JSON.stringify(name)} has no name`);
  return { entry, name, path, folder, executable: (mode & 0o111) !== 0 };
}

/** The place of an entry's data, after comparing its local header with the central record. */
async function locate(zip: yauzl.ZipFile, part: Part): Promise<{ start: number; data: number; end: number }> {
  const { entry } = part;
  const local = await zip.readLocalFileHeaderPromise(entry);
  const differs = (what: string): never => {
    throw new ArchiveError(
      "mismatch",
      `Entry "${part.path}": local header and central directory differ in ${what}`,
    );
  };
  if (!Buffer.from(local.fileName).equals(entry.fileNameRaw)) differs("name");
  if (local.compressionMethod !== entry.compressionMethod) differs("compression method");
  if ((local.generalPurposeBitFlag ^ entry.generalPurposeBitFlag) & (FLAG_ENCRYPTED | FLAG_MASKED_HEADERS)) {
    differs("encryption");
  }
  // With a data descriptor (bit 3) the local header's numbers are 0; zip64 puts 0xffffffff there.
  const agrees = (localValue: number, value: number): boolean =>
    localValue === value || localValue === 0 || localValue === 0xffffffff;
  if (!agrees(local.compressedSize, entry.compressedSize)) differs("compressed size");
  if (!agrees(local.uncompressedSize, entry.uncompressedSize)) differs("size");
  if (!(local.crc32 === entry.crc32 || local.crc32 === 0)) differs("checksum");
  const data = local.fileDataStart;
  return { start: entry.relativeOffsetOfLocalHeader, data, end: data + entry.compressedSize };
}

function refuseOverlap(ranges: { start: number; end: number; path: string }[]): void {
  ranges.sort((a, b) => a.start - b.start);
  let end = 0;
  for (const range of ranges) {
    if (range.start < end) throw new ArchiveError("overlap", `Entry "${range.path}" overlaps another entry`);
    end = range.end;
  }
}

/** Entries up to this size are unpacked in one go: a stream for each of many small files costs more than all of them. */
const AT_ONCE_BYTES = 256 * 1024;

function readSmallPart(bytes: Uint8Array, part: Part, data: number, budget: ArchiveBudget): Uint8Array {
  const { compressedSize, compressionMethod, uncompressedSize, crc32: sum } = part.entry;
  const packed = bytes.subarray(data, data + compressedSize);
  // Inflating throws when there is more than announced.
  const content =
    compressionMethod === STORED
      ? Uint8Array.from(packed)
      : inflateRawSync(packed, { maxOutputLength: Math.max(1, uncompressedSize) });
  if (packed.length !== compressedSize || content.length !== uncompressedSize) {
    throw new ArchiveError("mismatch", `Entry "${part.path}" does not have the size that the archive says`);
  }
  budget.countBytes(content.length);
  if (crc32(content) !== sum)
    throw new ArchiveError("checksum", `Entry "${part.path}" does not match its checksum`);
  return content;
}

async function readPart(zip: yauzl.ZipFile, part: Part, budget: ArchiveBudget): Promise<Uint8Array> {
  const stream = await zip.openReadStreamPromise(part.entry);
  const chunks: Buffer[] = [];
  let size = 0;
  let sum = 0;
  for await (const chunk of stream) {
    const bytes: Buffer = chunk;
    size += bytes.length;
    budget.checkFileSize(part.path, size);
    budget.countBytes(bytes.length);
    sum = crc32(bytes, sum);
    chunks.push(bytes);
  }
  if (sum !== part.entry.crc32)
    throw new ArchiveError("checksum", `Entry "${part.path}" does not match its checksum`);
  return Buffer.concat(chunks, size);
}

/**
 * Reads a zip from memory, entry by entry, after the whole directory has been checked: so an archive with one bad
 * entry yields nothing at all. Throws `ArchiveError`.
 */
export async function* readZip(bytes: Uint8Array, limits: ArchiveLimits): AsyncGenerator<ArchiveFile> {
  try {
    const zip = await yauzl.fromBufferPromise(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), {
      lazyEntries: true,
      decodeStrings: false,
      validateEntrySizes: true,
      autoClose: false,
    });
    const budget = new ArchiveBudget(limits, bytes.length);
    const names = new EntryNames();
    const parts: Part[] = [];
    const ranges: { start: number; end: number; path: string }[] = [];
    const starts = new Map<Part, number>();
    let declared = 0;
    for await (const entry of zip.eachEntry()) {
      budget.countEntry();
      const part = inspect(entry, limits);
      if (part.folder) names.addFolder(part.path);
      else names.addFile(part.path);
      budget.checkFileSize(part.path, entry.uncompressedSize);
      declared += entry.uncompressedSize;
      budget.checkTotal(declared);
      const { start, data, end } = await locate(zip, part);
      ranges.push({ start, end, path: part.path });
      starts.set(part, data);
      parts.push(part);
    }
    refuseOverlap(ranges);
    for (const part of parts) {
      if (part.folder) continue;
      const small = part.entry.uncompressedSize <= AT_ONCE_BYTES;
      const content = small
        ? readSmallPart(bytes, part, starts.get(part) ?? 0, budget)
        : await readPart(zip, part, budget);
      yield { path: part.path, bytes: content, executable: part.executable };
    }
  } catch (error) {
    if (error instanceof ArchiveError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new ArchiveError("format", `The zip archive cannot be read: ${reason}`, { cause: error });
  }
}
