/** One line as a container wrote it. */
export interface ContainerLine {
  readonly time: string;
  readonly stream: "stdout" | "stderr";
  readonly text: string;
  /** The text was longer than what is kept. */
  readonly cut: boolean;
  /** Offset in the file of the byte after the line's last piece. */
  readonly endOffset: number;
}

const NEWLINE = 10;
const SPACE = 32;
/** Longest text that is kept of one line; the rest is cut off. */
export const MAX_TEXT_BYTES = 256 * 1024;
/** A container runtime writes pieces of 16 KiB; a "line" without end in so much is no CRI log. */
const MAX_UNFINISHED_BYTES = 1024 * 1024;

interface Pieces {
  parts: Buffer[];
  bytes: number;
  cut: boolean;
  time: string;
}

/**
 * Reads a log in the format of the container runtimes: `<RFC 3339 time> <stdout|stderr> <F|P> <text>`, where F ends a line and P is a
 * piece of one. Bytes come in any portions. Text is decoded as UTF-8 once a line is whole; bytes that are none become U+FFFD.
 */
export class CriLineReader {
  /** Offset of the next byte to be pushed. */
  offset: number;
  #rest: Buffer = Buffer.alloc(0);
  readonly #pieces = new Map<"stdout" | "stderr", Pieces>();

  constructor(offset: number) {
    this.offset = offset;
  }

  push(chunk: Buffer): ContainerLine[] {
    const lines: ContainerLine[] = [];
    const base = this.offset - this.#rest.length;
    const data = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    this.offset += chunk.length;
    let from = 0;
    for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE, from)) {
      const line = this.#entry(data.subarray(from, end), base + end + 1);
      if (line) lines.push(line);
      from = end + 1;
    }
    this.#rest =
      data.length - from > MAX_UNFINISHED_BYTES ? Buffer.alloc(0) : Buffer.from(data.subarray(from));
    return lines;
  }

  /** Offset from which everything would have to be read again if this reader were lost: the start of the first unfinished line. */
  get safeOffset(): number {
    return this.#pieces.size > 0 ? this.#unfinishedFrom : this.offset - this.#rest.length;
  }
  #unfinishedFrom = 0;

  #entry(raw: Buffer, endOffset: number): ContainerLine | undefined {
    const entry = splitEntry(raw);
    if (!entry) return undefined;
    const { stream } = entry;
    const open = this.#pieces.get(stream);
    if (entry.whole && !open) {
      const { text, cut } = decode([entry.text], entry.text.length, false);
      return { time: entry.time, stream, text, cut, endOffset };
    }
    const pieces = open ?? { parts: [], bytes: 0, cut: false, time: entry.time };
    if (!open && this.#pieces.size === 0) this.#unfinishedFrom = endOffset - raw.length - 1;
    keep(pieces, entry.text);
    if (!entry.whole) {
      this.#pieces.set(stream, pieces);
      return undefined;
    }
    this.#pieces.delete(stream);
    const { text, cut } = decode(pieces.parts, pieces.bytes, pieces.cut);
    return { time: pieces.time, stream, text, cut, endOffset };
  }
}

function keep(pieces: Pieces, text: Buffer): void {
  const room = MAX_TEXT_BYTES - pieces.bytes;
  if (text.length > room) pieces.cut = true;
  if (room <= 0) return;
  const kept = Buffer.from(text.subarray(0, room));
  pieces.parts.push(kept);
  pieces.bytes += kept.length;
}

function decode(parts: Buffer[], bytes: number, cut: boolean): { text: string; cut: boolean } {
  const whole = parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts, bytes);
  return {
    text: whole.subarray(0, MAX_TEXT_BYTES).toString("utf8"),
    cut: cut || whole.length > MAX_TEXT_BYTES,
  };
}

function splitEntry(
  raw: Buffer,
): { time: string; stream: "stdout" | "stderr"; whole: boolean; text: Buffer } | undefined {
  const timeEnd = raw.indexOf(SPACE);
  const streamEnd = timeEnd < 0 ? -1 : raw.indexOf(SPACE, timeEnd + 1);
  if (streamEnd < 0) return undefined;
  const stream = raw.toString("latin1", timeEnd + 1, streamEnd);
  if (stream !== "stdout" && stream !== "stderr") return undefined;
  const tagEnd = raw.indexOf(SPACE, streamEnd + 1);
  const tags = raw.toString("latin1", streamEnd + 1, tagEnd < 0 ? raw.length : tagEnd);
  const text = tagEnd < 0 ? Buffer.alloc(0) : raw.subarray(tagEnd + 1);
  return { time: raw.toString("latin1", 0, timeEnd), stream, whole: !tags.startsWith("P"), text };
}
