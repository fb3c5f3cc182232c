/**
 * A strict reader of zip archives that come from outside.
 *
 * 1. Names are relative, of forward slashes, without `..`, drive letters, control characters and NUL; no name twice, also not
 *    in another letter case; no name both as a file and as a folder of others.
 * 2. Only regular files and folders: no links, no devices. Only stored and deflated entries: nothing encrypted.
 * 3. The central directory and the local headers say the same; entries neither overlap nor run into the directory.
 * 4. Number, size and ratio are bounded before memory is taken, and sizes and CRCs are held to while inflating.
 * 5. zip64 is refused: the bounds lie far below what needs it.
 */

import { crc32 } from "./crc32.ts";

/** The archive breaks a rule; the message names the entry. */
export class UnsafeArchive extends Error {
  override readonly name = "UnsafeArchive";
}

export interface ZipLimits {
  readonly entries: number;
  readonly totalBytes: number;
  readonly entryBytes: number;
  /** Unpacked over packed size, for entries above `ratioFromBytes`. */
  readonly ratio: number;
  readonly ratioFromBytes: number;
  readonly depth: number;
}

export const ZIP_LIMITS: ZipLimits = {
  entries: 10_000,
  totalBytes: 512 * 1024 * 1024,
  entryBytes: 256 * 1024 * 1024,
  ratio: 100,
  // Very regular files, such as the source map of a generated table, shrink by more than 100 and are no bombs.
  ratioFromBytes: 64 * 1024 * 1024,
  depth: 32,
};

export interface ZipFile {
  readonly name: string;
  /** Null when it was held back. */
  readonly content: Uint8Array<ArrayBuffer> | null;
}

/** A deflated file that is inflated later. */
export interface HeldZipFile extends ZipFile {
  readonly content: null;
  readonly packed: Uint8Array<ArrayBuffer>;
  readonly size: number;
  readonly crc: number;
}

interface Entry {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  readonly offset: number;
  readonly flags: number;
}

const END_SIGNATURE = 0x06054b50;
const CENTRAL_SIGNATURE = 0x02014b50;
const LOCAL_SIGNATURE = 0x04034b50;
const END_BYTES = 22;
const CENTRAL_BYTES = 46;
const LOCAL_BYTES = 30;
const MAX_COMMENT = 0xffff;
const FLAG_ENCRYPTED = 0x0001 | 0x0040 | 0x2000;
const FLAG_SIZES_FOLLOW = 0x0008;
const METHOD_STORED = 0;
const METHOD_DEFLATED = 8;
const UNIX = 3;
const KIND_MASK = 0o170000;
const KIND_FILE = 0o100000;
const KIND_FOLDER = 0o040000;
const ZIP64_EXTRA = 0x0001;

const refuse = (reason: string): never => {
  throw new UnsafeArchive(`Cannot unpack the archive: ${reason}`);
};

/** Whether bytes begin like a zip archive, also an empty one. */
export function isZip(bytes: Uint8Array): boolean {
  return (
    bytes.length >= 4 &&
    bytes[0] === 0x50 &&
    bytes[1] === 0x4b &&
    ((bytes[2] === 3 && bytes[3] === 4) || (bytes[2] === 5 && bytes[3] === 6))
  );
}

/** Checks the name of an entry; returns its segments. A trailing slash marks a folder. Throws UnsafeArchive. */
export function checkEntryName(name: string, depth = ZIP_LIMITS.depth): string[] {
  const shown = JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
  if (name === "" || name.length > 1024) refuse(`entry name ${shown} must have 1..1024 characters`);
  if (/[\u0000-\u001f\u007f]/.test(name)) refuse(`entry name ${shown} has control characters`);
  if (name.includes("\\")) refuse(`entry name ${shown} has a backslash`);
  if (name.includes("\ufffd")) refuse(`entry name ${shown} is not UTF-8`);
  if (name.startsWith("/")) refuse(`entry name ${shown} is absolute`);
  if (/^[A-Za-z]:/.test(name)) refuse(`entry name ${shown} has a drive letter`);
  const segments = (name.endsWith("/") ? name.slice(0, -1) : name).split("/");
  if (segments.length > depth) refuse(`entry name ${shown} is more than ${depth} folders deep`);
  for (const segment of segments) {
    if (segment === "" || segment === "." || segment === "..")
      refuse(`entry name ${shown} must not have the segment "${segment}"`);
    if (segment.length > 255) refuse(`entry name ${shown} has a segment of more than 255 characters`);
  }
  return segments;
}

function findEnd(view: DataView): number {
  const lowest = Math.max(0, view.byteLength - END_BYTES - MAX_COMMENT);
  for (let at = view.byteLength - END_BYTES; at >= lowest; at -= 1) {
    if (
      view.getUint32(at, true) === END_SIGNATURE &&
      at + END_BYTES + view.getUint16(at + 20, true) === view.byteLength
    ) {
      return at;
    }
  }
  return refuse("it has no end record, so it is cut short or no zip");
}

function hasZip64Extra(view: DataView, from: number, length: number): boolean {
  for (let at = from; at + 4 <= from + length; at += 4 + view.getUint16(at + 2, true)) {
    if (view.getUint16(at, true) === ZIP64_EXTRA) return true;
  }
  return false;
}

const decodeName = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

function readCentral(
  bytes: Uint8Array,
  view: DataView,
  limits: ZipLimits,
): { entries: Entry[]; start: number } {
  const end = findEnd(view);
  const count = view.getUint16(end + 10, true);
  const size = view.getUint32(end + 12, true);
  const start = view.getUint32(end + 16, true);
  if (
    view.getUint16(end + 4, true) !== 0 ||
    view.getUint16(end + 6, true) !== 0 ||
    view.getUint16(end + 8, true) !== count
  ) {
    refuse("it is split over several files");
  }
  if (count === 0xffff || size === 0xffffffff || start === 0xffffffff) refuse("it is a zip64 archive");
  if (count > limits.entries) refuse(`it has ${count} entries, at most ${limits.entries} are allowed`);
  if (start + size !== end) refuse("its directory does not end where the end record begins");
  const entries: Entry[] = [];
  let at = start;
  for (let index = 0; index < count; index += 1) {
    if (at + CENTRAL_BYTES > end || view.getUint32(at, true) !== CENTRAL_SIGNATURE)
      refuse(`directory entry ${index} is damaged`);
    const nameLength = view.getUint16(at + 28, true);
    const extraLength = view.getUint16(at + 30, true);
    const next = at + CENTRAL_BYTES + nameLength + extraLength + view.getUint16(at + 32, true);
    if (next > end) refuse(`directory entry ${index} is damaged`);
    const name = decodeName(bytes.subarray(at + CENTRAL_BYTES, at + CENTRAL_BYTES + nameLength));
    if (hasZip64Extra(view, at + CENTRAL_BYTES + nameLength, extraLength))
      refuse(`entry ${JSON.stringify(name)} uses zip64`);
    const kind = (view.getUint32(at + 38, true) >>> 16) & KIND_MASK;
    const madeOnUnix = view.getUint8(at + 5) === UNIX;
    if (madeOnUnix && kind !== 0 && kind !== (name.endsWith("/") ? KIND_FOLDER : KIND_FILE)) {
      refuse(`entry ${JSON.stringify(name)} is a link or a special file`);
    }
    entries.push({
      name,
      flags: view.getUint16(at + 8, true),
      method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true),
      packed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      offset: view.getUint32(at + 42, true),
    });
    at = next;
  }
  if (at !== end) refuse("its directory is longer than its entries");
  return { entries, start };
}

function checkEntries(entries: readonly Entry[], limits: ZipLimits): void {
  const files = new Set<string>();
  const folders = new Set<string>();
  let total = 0;
  for (const entry of entries) {
    const shown = JSON.stringify(entry.name);
    const segments = checkEntryName(entry.name, limits.depth).map((part) =>
      part.normalize("NFC").toLowerCase(),
    );
    if (entry.flags & FLAG_ENCRYPTED) refuse(`entry ${shown} is encrypted`);
    if (entry.method !== METHOD_STORED && entry.method !== METHOD_DEFLATED) {
      refuse(`entry ${shown} must be stored or deflated, got method ${entry.method}`);
    }
    if (entry.method === METHOD_STORED && entry.packed !== entry.size)
      refuse(`entry ${shown} is stored, but its sizes differ`);
    if (entry.size > limits.entryBytes)
      refuse(`entry ${shown} has ${entry.size} bytes, at most ${limits.entryBytes} are allowed`);
    if (entry.size > limits.ratioFromBytes && entry.size > entry.packed * limits.ratio) {
      refuse(`entry ${shown} unpacks to more than ${limits.ratio} times its size`);
    }
    total += entry.size;
    if (total > limits.totalBytes) refuse(`it unpacks to more than ${limits.totalBytes} bytes`);
    for (let depth = 1; depth < segments.length; depth += 1) folders.add(segments.slice(0, depth).join("/"));
    const key = segments.join("/");
    if (entry.name.endsWith("/")) {
      if (entry.size !== 0) refuse(`folder ${shown} has content`);
      folders.add(key);
    } else if (files.has(key)) {
      refuse(`entry ${shown} is there twice`);
    } else {
      files.add(key);
    }
  }
  for (const file of files) if (folders.has(file)) refuse(`"${file}" is both a file and a folder`);
}

function packedBytes(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  entry: Entry,
  end: number,
): Uint8Array<ArrayBuffer> {
  const shown = JSON.stringify(entry.name);
  const at = entry.offset;
  if (at + LOCAL_BYTES > end || view.getUint32(at, true) !== LOCAL_SIGNATURE)
    refuse(`entry ${shown} has no local header`);
  const nameLength = view.getUint16(at + 26, true);
  const from = at + LOCAL_BYTES + nameLength + view.getUint16(at + 28, true);
  if (from + entry.packed > end) refuse(`entry ${shown} runs into the directory`);
  const flags = view.getUint16(at + 6, true);
  const sizesFollow = (flags & FLAG_SIZES_FOLLOW) !== 0;
  const differs = (offset: number, expected: number): boolean => {
    const given = view.getUint32(at + offset, true);
    return given !== expected && !(sizesFollow && given === 0);
  };
  if (
    decodeName(bytes.subarray(at + LOCAL_BYTES, at + LOCAL_BYTES + nameLength)) !== entry.name ||
    flags !== entry.flags ||
    view.getUint16(at + 8, true) !== entry.method ||
    differs(14, entry.crc) ||
    differs(18, entry.packed) ||
    differs(22, entry.size)
  ) {
    refuse(`entry ${shown} differs between its local header and the directory`);
  }
  return bytes.subarray(from, from + entry.packed);
}

/** The content of a deflated file, piece by piece. The caller holds it to size and checksum. */
export const inflating = (packed: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> =>
  new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));

async function inflate(packed: Uint8Array<ArrayBuffer>, entry: Entry): Promise<Uint8Array<ArrayBuffer>> {
  const result = new Uint8Array(entry.size);
  let filled = 0;
  try {
    for await (const chunk of inflating(packed)) {
      if (filled + chunk.length > entry.size)
        refuse(`entry ${JSON.stringify(entry.name)} is larger than it says`);
      result.set(chunk, filled);
      filled += chunk.length;
    }
  } catch (error) {
    if (error instanceof UnsafeArchive) throw error;
    refuse(`entry ${JSON.stringify(entry.name)} cannot be inflated`);
  }
  return filled === entry.size
    ? result
    : refuse(`entry ${JSON.stringify(entry.name)} is smaller than it says`);
}

/**
 * The files of a zip archive, in the order of its directory. Folders are left out. Deflated files that `later` names are held back.
 * Throws UnsafeArchive before anything was unpacked when a rule of the directory is broken.
 */
export async function readZip(
  bytes: Uint8Array<ArrayBuffer>,
  limits: ZipLimits = ZIP_LIMITS,
  later: (name: string, sizes: ReadonlyMap<string, number>) => boolean = () => false,
): Promise<(ZipFile | HeldZipFile)[]> {
  if (bytes.length < END_BYTES) refuse("it is too short for a zip");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { entries, start } = readCentral(bytes, view, limits);
  checkEntries(entries, limits);
  const taken = entries.map((entry) => ({ entry, packed: packedBytes(bytes, view, entry, start) }));
  const spans = taken
    .map(({ entry, packed }) => ({
      from: entry.offset,
      to: packed.byteOffset - bytes.byteOffset + packed.length,
    }))
    .sort((left, right) => left.from - right.from);
  for (let index = 1; index < spans.length; index += 1) {
    if ((spans[index]?.from ?? 0) < (spans[index - 1]?.to ?? 0)) refuse("its entries overlap");
  }
  const files: (ZipFile | HeldZipFile)[] = [];
  const sizes = new Map(entries.map(({ name, size }) => [name, size]));
  for (const { entry, packed } of taken) {
    const { name, size, crc } = entry;
    if (name.endsWith("/")) continue;
    if (entry.method === METHOD_DEFLATED && later(name, sizes)) {
      // A copy, so that the archive around it can go.
      files.push({ name, content: null, packed: packed.slice(), size, crc });
      continue;
    }
    const content = entry.method === METHOD_STORED ? packed : await inflate(packed, entry);
    if (crc32(content) !== crc) refuse(`entry ${JSON.stringify(name)} has another checksum than it says`);
    files.push({ name, content });
  }
  return files;
}
