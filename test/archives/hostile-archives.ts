import { crc32, deflateRawSync, gzipSync } from "node:zlib";

/** Builders of archives that no packing tool makes: every field of a header can be set. */
export interface RawZipEntry {
  readonly name: string | Uint8Array;
  readonly content?: string | Uint8Array;
  readonly method?: number;
  readonly flags?: number;
  /** Unix mode; also says that the entry was made on Unix. */
  readonly mode?: number;
  readonly extra?: Uint8Array;
  /** What the local header says instead of the truth. */
  readonly local?: {
    name?: string;
    method?: number;
    size?: number;
    crc?: number;
    flags?: number;
    compressedSize?: number;
  };
  /** What the central record says instead of the truth. */
  readonly central?: { size?: number; compressedSize?: number; crc?: number; offset?: number };
}

export function rawZip(
  entries: readonly RawZipEntry[],
  end: { count?: number; offset?: number; comment?: string } = {},
): Buffer {
  const parts: Buffer[] = [];
  const records: Buffer[] = [];
  let at = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const content = Buffer.from(entry.content ?? "");
    const method = entry.method ?? 0;
    const data = method === 8 ? deflateRawSync(content) : content;
    const crc = crc32(content);
    const extra = Buffer.from(entry.extra ?? new Uint8Array());
    const localName = Buffer.from(entry.local?.name ?? name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(20, 4);
    local.writeUInt16LE(entry.local?.flags ?? entry.flags ?? 0x800, 6);
    local.writeUInt16LE(entry.local?.method ?? method, 8);
    local.writeUInt32LE(entry.local?.crc ?? crc, 14);
    local.writeUInt32LE(entry.local?.compressedSize ?? data.length, 18);
    local.writeUInt32LE(entry.local?.size ?? content.length, 22);
    local.writeUInt16LE(localName.length, 26);
    local.writeUInt16LE(extra.length, 28);
    const whole = Buffer.concat([local, localName, extra, data]);
    const record = Buffer.alloc(46);
    record.writeUInt32LE(0x02014b50, 0);
    record.writeUInt16LE(entry.mode === undefined ? 20 : (3 << 8) | 20, 4);
    record.writeUInt16LE(20, 6);
    record.writeUInt16LE(entry.flags ?? 0x800, 8);
    record.writeUInt16LE(method, 10);
    record.writeUInt32LE(entry.central?.crc ?? crc, 16);
    record.writeUInt32LE(entry.central?.compressedSize ?? data.length, 20);
    record.writeUInt32LE(entry.central?.size ?? content.length, 24);
    record.writeUInt16LE(name.length, 28);
    record.writeUInt16LE(extra.length, 30);
    record.writeUInt32LE(((entry.mode ?? 0) << 16) >>> 0, 38);
    record.writeUInt32LE(entry.central?.offset ?? at, 42);
    parts.push(whole);
    records.push(Buffer.concat([record, name, extra]));
    at += whole.length;
  }
  const directory = Buffer.concat(records);
  const tail = Buffer.alloc(22);
  tail.writeUInt32LE(0x06054b50, 0);
  tail.writeUInt16LE(end.count ?? entries.length, 8);
  tail.writeUInt16LE(end.count ?? entries.length, 10);
  tail.writeUInt32LE(directory.length, 12);
  tail.writeUInt32LE(end.offset ?? at, 16);
  tail.writeUInt16LE(end.comment?.length ?? 0, 20);
  return Buffer.concat([...parts, directory, tail, Buffer.from(end.comment ?? "")]);
}

export interface RawTarEntry {
  readonly name: string;
  readonly content?: string | Uint8Array;
  readonly type?: string;
  readonly link?: string;
  readonly mode?: number;
  /** What the header says instead of the truth. */
  readonly size?: number;
  readonly badChecksum?: boolean;
}

export function rawTar(entries: readonly RawTarEntry[], options: { end?: boolean } = {}): Buffer {
  const blocks: Buffer[] = [];
  for (const entry of entries) {
    const content = Buffer.from(entry.content ?? "");
    const head = Buffer.alloc(512);
    head.write(entry.name, 0, 100, "utf8");
    head.write(`${(entry.mode ?? 0o644).toString(8).padStart(7, "0")}\0`, 100);
    head.write("0000000\0", 108);
    head.write("0000000\0", 116);
    head.write(`${(entry.size ?? content.length).toString(8).padStart(11, "0")}\0`, 124);
    head.write("00000000000\0", 136);
    head.write("        ", 148);
    head.write(entry.type ?? "0", 156);
    head.write(entry.link ?? "", 157, 100, "utf8");
    head.write("ustar\u000000", 257);
    const sum = head.reduce((total, byte) => total + byte, 0) + (entry.badChecksum ? 1 : 0);
    head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    blocks.push(head, content, Buffer.alloc((512 - (content.length % 512)) % 512));
  }
  if (options.end !== false) blocks.push(Buffer.alloc(1024));
  return Buffer.concat(blocks);
}

/** A PAX extended header for the entry that follows it. */
export function paxHeader(values: Readonly<Record<string, string>>): RawTarEntry {
  const lines = Object.entries(values).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = Buffer.byteLength(rest) + 1;
    while (String(length).length + Buffer.byteLength(rest) !== length)
      length = String(length).length + Buffer.byteLength(rest);
    return `${length}${rest}`;
  });
  return { name: "PaxHeader", type: "x", content: lines.join("") };
}

export const gzipped = (bytes: Uint8Array): Buffer => gzipSync(bytes);
