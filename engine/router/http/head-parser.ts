import { METHOD_BYTE, NAME_BYTE, TARGET_BYTE, TARGET_QUESTION, VALUE_BYTE } from "./byte-class.ts";
import { REJECTS, type Reject } from "./reject.ts";

/**
 * Strict, resumable single-pass parser of a request's or a response's head.
 *
 * 1. Every offset is relative to the first byte of the head, so that they stay valid when a partial head moves to another buffer and
 *    when the head becomes a latin1 string.
 * 2. Bytes are looked at once: `parse` goes on where the last call ran out of them, so one byte at a time costs no more than all at once.
 * 3. Header lines are contiguous: line i runs from its name's start to the next line's (or `headersEnd`), CRLF included.
 */

export const NEED_MORE = 0;
export const COMPLETE = 1;
export const REJECTED = 2;

/** Kinds of header that the core itself understands; 0 is every other header. Those from `FIRST_HOP` up never pass through. */
export const OTHER = 0;
export const HOST = 1;
export const DATE = 2;
export const FIRST_HOP = 3;
export const CONTENT_LENGTH = 3;
export const TRANSFER_ENCODING = 4;
export const CONNECTION = 5;
export const UPGRADE = 6;
export const EXPECT = 7;
export const KEEP_ALIVE = 8;
/** te, trailer, proxy-connection, proxy-authenticate, proxy-authorization, http2-settings: dropped, never read. */
export const HOP = 9;
const KINDS = 10;

const KNOWN: ReadonlyArray<readonly [string, number]> = [
  ["host", HOST],
  ["date", DATE],
  ["content-length", CONTENT_LENGTH],
  ["transfer-encoding", TRANSFER_ENCODING],
  ["connection", CONNECTION],
  ["upgrade", UPGRADE],
  ["expect", EXPECT],
  ["keep-alive", KEEP_ALIVE],
  ["te", HOP],
  ["trailer", HOP],
  ["proxy-connection", HOP],
  ["proxy-authenticate", HOP],
  ["proxy-authorization", HOP],
  ["http2-settings", HOP],
];
const LONGEST_KNOWN = 19;
/** Index + 1 in KNOWN by length and lower-case first letter (`length << 8 | letter`), which no two of them share; 0 for none. */
const KNOWN_BY_START: Uint8Array = knownByStart();

const S_START = 0;
const S_START_LF = 1;
const S_METHOD = 2;
const S_TARGET_START = 3;
const S_TARGET = 4;
const S_VERSION = 5;
const S_LINE_LF = 6;
const S_LINE_START = 7;
const S_NAME = 8;
const S_OWS = 9;
const S_VALUE = 10;
const S_VALUE_LF = 11;
const S_END_LF = 12;
const S_STATUS = 13;
const S_REASON_SPACE = 14;
const S_REASON = 15;
const S_DONE = 16;

const VERSION = "HTTP/1.";
const VERSION_LINE = Uint8Array.from("HTTP/1.1\r\n", (char) => char.charCodeAt(0));
const MAX_METHOD = 32;

export interface HeadLimits {
  readonly maxHeaderBytes: number;
  readonly maxHeaders: number;
  readonly maxTargetBytes: number;
}

export class HeadParser {
  readonly #limits: HeadLimits;
  readonly #response: boolean;
  #state: number;
  #pos = 0;
  #mark = 0;

  /** Four per header: name start, name end, value start, value end. */
  spans = new Uint16Array(32 * 4);
  kinds = new Uint8Array(32);
  count = 0;
  /** Index + 1 of the first header of a kind, 0 for none; and whether there are several. */
  readonly first = new Uint16Array(KINDS);
  repeated = 0;

  methodEnd = 0;
  targetStart = 0;
  targetEnd = 0;
  /** Offset of the first `?`, or of the target's end. */
  pathEnd = 0;
  /** Union of the flags of the path's bytes, and of the query's. */
  pathFlags = 0;
  queryFlags = 0;
  minorVersion: 0 | 1 = 1;
  status = 0;
  /** Where the header lines begin, where they end, and where the body begins. */
  headersStart = 0;
  headersEnd = 0;
  headEnd = 0;
  reject: Reject = REJECTS.requestLine;

  constructor(response: boolean, limits: HeadLimits) {
    this.#response = response;
    this.#limits = limits;
    this.#state = response ? S_VERSION : S_START;
  }

  /** Ready for the next head. */
  reset(): void {
    this.#state = this.#response ? S_VERSION : S_START;
    this.#pos = 0;
    this.#mark = 0;
    this.count = 0;
    this.first.fill(0);
    this.repeated = 0;
    this.pathFlags = 0;
    this.queryFlags = 0;
    this.pathEnd = 0;
    this.status = 0;
  }

  /** Whether a head has begun and is not complete. */
  get started(): boolean {
    return this.#pos > 0 && this.#state !== S_DONE;
  }

  /**
   * @param base index of the head's first byte in `bytes`, @param end index after the last byte there
   * @returns NEED_MORE, COMPLETE (fields are set) or REJECTED (`reject` is set)
   */
  parse(bytes: Uint8Array, base: number, end: number): number {
    // The last head's places stay readable until the next one begins.
    if (this.#state === S_DONE) this.reset();
    const limit = base + this.#limits.maxHeaderBytes;
    const stop = end > limit ? limit : end;
    let i = base + this.#pos;
    if (this.#response && this.#state === S_VERSION) i = this.#statusVersion(bytes, base, i, stop);
    while (i < stop) {
      const state = this.#state;
      let next: number;
      if (state === S_NAME || state === S_LINE_START) next = this.#name(bytes, base, i, stop);
      else if (state === S_VALUE || state === S_OWS) next = this.#value(bytes, base, i, stop);
      else if (state < S_VERSION) next = this.#requestLine(bytes, base, i, stop);
      else next = this.#ends(bytes, base, i);
      if (next < 0) return REJECTED;
      i = next;
      if (this.#state === S_DONE) return COMPLETE;
    }
    this.#pos = i - base;
    if (stop < end || i === limit) return this.#tooLarge();
    return NEED_MORE;
  }

  #tooLarge(): number {
    this.reject = this.#state === S_TARGET ? REJECTS.targetTooLong : REJECTS.headerTooLarge;
    return REJECTED;
  }

  #fail(reject: Reject): number {
    this.reject = reject;
    return -1;
  }

  #requestLine(bytes: Uint8Array, base: number, from: number, stop: number): number {
    let i = from;
    switch (this.#state) {
      case S_START:
        if (bytes[i] === 13 && this.#mark === 0) {
          this.#state = S_START_LF;
          return i + 1;
        }
        this.#mark = i - base;
        this.#state = S_METHOD;
        return i;
      case S_START_LF:
        // One empty line before a request is forgiven (RFC 9112 2.2).
        if (bytes[i] !== 10) return this.#fail(REJECTS.lineEnd);
        this.#mark = 2;
        this.#state = S_START;
        return i + 1;
      case S_METHOD: {
        const most = base + this.#mark + MAX_METHOD;
        while (i < stop && METHOD_BYTE[bytes[i]!] === 1 && i < most) i++;
        if (i === stop) return i;
        if (bytes[i] !== 32 || i === base + this.#mark) return this.#fail(REJECTS.method);
        this.methodEnd = i - base;
        this.#state = S_TARGET_START;
        return i + 1;
      }
      case S_TARGET_START:
        this.targetStart = i - base;
        this.pathEnd = 0;
        this.#state = S_TARGET;
        return i;
      default:
        return this.#target(bytes, base, i, stop);
    }
  }

  #target(bytes: Uint8Array, base: number, from: number, stop: number): number {
    let i = from;
    let flags = 0;
    const most = base + this.targetStart + this.#limits.maxTargetBytes;
    while (i < stop) {
      const kind = TARGET_BYTE[bytes[i]!]!;
      if (kind === 0) break;
      if (kind === TARGET_QUESTION && this.pathEnd === 0) {
        this.pathEnd = i - base;
        this.pathFlags |= flags;
        flags = 0;
      }
      flags |= kind;
      i++;
    }
    if (this.pathEnd === 0) this.pathFlags |= flags;
    else this.queryFlags |= flags;
    if (i > most) return this.#fail(REJECTS.targetTooLong);
    if (i === stop) return i;
    if (bytes[i] !== 32) return this.#fail(bytes[i] === 13 ? REJECTS.requestLine : REJECTS.target);
    if (i === base + this.targetStart) return this.#fail(REJECTS.requestLine);
    this.targetEnd = i - base;
    if (this.pathEnd === 0) this.pathEnd = this.targetEnd;
    if (stop - i > VERSION_LINE.length && isVersionLine(bytes, i + 1)) {
      this.minorVersion = 1;
      this.headersStart = i + 1 + VERSION_LINE.length - base;
      this.#state = S_LINE_START;
      return i + 1 + VERSION_LINE.length;
    }
    this.#mark = i + 1 - base;
    this.#state = S_VERSION;
    return i + 1;
  }

  #name(bytes: Uint8Array, base: number, from: number, stop: number): number {
    let i = from;
    if (this.#state === S_LINE_START) {
      const byte = bytes[i]!;
      if (byte === 13) {
        this.headersEnd = i - base;
        this.#state = S_END_LF;
        return i + 1;
      }
      if (byte === 32 || byte === 9) return this.#fail(REJECTS.folded);
      if (this.count === this.#limits.maxHeaders) return this.#fail(REJECTS.headerTooLarge);
      if (this.count === this.kinds.length) this.#grow();
      this.spans[this.count << 2] = i - base;
      this.#state = S_NAME;
    }
    while (i < stop && NAME_BYTE[bytes[i]!] !== 0) i++;
    if (i === stop) return i;
    const at = this.count << 2;
    const start = this.spans[at]!;
    const length = i - base - start;
    if (bytes[i] !== 58 || length === 0) {
      return this.#fail(bytes[i] === 10 ? REJECTS.lineEnd : REJECTS.headerName);
    }
    this.spans[at + 1] = i - base;
    const kind = length <= LONGEST_KNOWN ? kindOf(bytes, base + start, length) : OTHER;
    this.kinds[this.count] = kind;
    if (kind !== OTHER) {
      if (this.first[kind] === 0) this.first[kind] = this.count + 1;
      else this.repeated |= 1 << kind;
    }
    this.#state = S_OWS;
    return i + 1;
  }

  #value(bytes: Uint8Array, base: number, from: number, stop: number): number {
    let i = from;
    if (this.#state === S_OWS) {
      while (i < stop && (bytes[i] === 32 || bytes[i] === 9)) i++;
      if (i === stop) return i;
      this.spans[(this.count << 2) + 2] = i - base;
      this.#state = S_VALUE;
    }
    while (i < stop && VALUE_BYTE[bytes[i]!] === 1) i++;
    if (i === stop) return i;
    if (bytes[i] !== 13) return this.#fail(bytes[i] === 10 ? REJECTS.lineEnd : REJECTS.headerValue);
    const start = base + this.spans[(this.count << 2) + 2]!;
    let last = i;
    while (last > start && (bytes[last - 1] === 32 || bytes[last - 1] === 9)) last--;
    this.spans[(this.count << 2) + 3] = last - base;
    this.count++;
    if (i + 1 < stop && bytes[i + 1] === 10) {
      this.#state = S_LINE_START;
      return i + 2;
    }
    this.#state = S_VALUE_LF;
    return i + 1;
  }

  /** The states that take one or few bytes. */
  #ends(bytes: Uint8Array, base: number, i: number): number {
    const byte = bytes[i]!;
    switch (this.#state) {
      case S_VERSION:
        return this.#version(byte, base, i);
      case S_VALUE_LF:
        if (byte !== 10) return this.#fail(REJECTS.headerValue);
        this.#state = S_LINE_START;
        return i + 1;
      case S_LINE_LF:
        if (byte !== 10) return this.#fail(REJECTS.lineEnd);
        this.headersStart = i + 1 - base;
        this.#state = S_LINE_START;
        return i + 1;
      case S_END_LF:
        if (byte !== 10) return this.#fail(REJECTS.lineEnd);
        this.headEnd = i + 1 - base;
        this.#state = S_DONE;
        return i + 1;
      default:
        return this.#statusLine(byte, base, i);
    }
  }

  /** Skips `HTTP/1.1 ` of a status line that is here whole; in any other case its bytes are judged one by one. */
  #statusVersion(bytes: Uint8Array, base: number, i: number, stop: number): number {
    if (i !== base || stop - i <= VERSION_LINE.length) return i;
    for (let k = 0; k < VERSION_LINE.length - 2; k++) if (bytes[i + k] !== VERSION_LINE[k]) return i;
    if (bytes[i + 8] !== 32) return i;
    this.minorVersion = 1;
    this.#mark = 9;
    this.#state = S_STATUS;
    return i + 9;
  }

  #version(byte: number, base: number, i: number): number {
    const at = i - base - this.#mark;
    if (at < VERSION.length) {
      // The major version may be any digit here, so that 2.0 gets the answer that it deserves.
      if (at === 5 && byte !== 49 && byte >= 48 && byte <= 57) return this.#fail(REJECTS.version);
      if (byte !== VERSION.charCodeAt(at))
        return this.#fail(this.#response ? REJECTS.statusLine : REJECTS.requestLine);
      return i + 1;
    }
    if (at === VERSION.length) {
      if (byte !== 48 && byte !== 49)
        return this.#fail(byte > 49 && byte <= 57 ? REJECTS.version : REJECTS.requestLine);
      this.minorVersion = byte === 48 ? 0 : 1;
      return i + 1;
    }
    if (this.#response) {
      if (byte !== 32) return this.#fail(REJECTS.statusLine);
      this.#mark = i + 1 - base;
      this.#state = S_STATUS;
      return i + 1;
    }
    if (byte !== 13) return this.#fail(byte === 10 ? REJECTS.lineEnd : REJECTS.requestLine);
    this.#state = S_LINE_LF;
    return i + 1;
  }

  #statusLine(byte: number, base: number, i: number): number {
    switch (this.#state) {
      case S_STATUS:
        if (byte < 48 || byte > 57) return this.#fail(REJECTS.statusLine);
        this.status = this.status * 10 + byte - 48;
        if (i - base - this.#mark === 2) {
          if (this.status < 100) return this.#fail(REJECTS.statusLine);
          this.#state = S_REASON_SPACE;
        }
        return i + 1;
      case S_REASON_SPACE:
        if (byte !== 32 && byte !== 13) return this.#fail(REJECTS.statusLine);
        this.#state = byte === 13 ? S_LINE_LF : S_REASON;
        return i + 1;
      default:
        if (byte === 13) this.#state = S_LINE_LF;
        else if (VALUE_BYTE[byte] !== 1) return this.#fail(REJECTS.statusLine);
        return i + 1;
    }
  }

  #grow(): void {
    const spans = new Uint16Array(this.spans.length * 2);
    spans.set(this.spans);
    this.spans = spans;
    const kinds = new Uint8Array(this.kinds.length * 2);
    kinds.set(this.kinds);
    this.kinds = kinds;
  }
}

/**
 * Index of the first header with a lower-case name at or after `from`, or -1.
 * @param head the head as a latin1 string
 */
export function findHeader(parser: HeadParser, head: string, name: string, from: number): number {
  const { spans, count } = parser;
  const length = name.length;
  for (let index = from; index < count; index++) {
    const start = spans[index << 2]!;
    if (spans[(index << 2) + 1]! - start !== length) continue;
    let k = 0;
    while (k < length && NAME_BYTE[head.charCodeAt(start + k)] === name.charCodeAt(k)) k++;
    if (k === length) return index;
  }
  return -1;
}

/** Value of the header with that index. */
export function headerValue(parser: HeadParser, head: string, index: number): string {
  return head.slice(parser.spans[(index << 2) + 2], parser.spans[(index << 2) + 3]);
}

function isVersionLine(bytes: Uint8Array, start: number): boolean {
  for (let k = 0; k < VERSION_LINE.length; k++) if (bytes[start + k] !== VERSION_LINE[k]) return false;
  return true;
}

function kindOf(bytes: Uint8Array, start: number, length: number): number {
  const index = KNOWN_BY_START[(length << 8) | NAME_BYTE[bytes[start]!]!]!;
  if (index === 0) return OTHER;
  const [name, kind] = KNOWN[index - 1]!;
  let k = 1;
  while (k < length && NAME_BYTE[bytes[start + k]!] === name.charCodeAt(k)) k++;
  return k === length ? kind : OTHER;
}

function knownByStart(): Uint8Array {
  const out = new Uint8Array((LONGEST_KNOWN + 1) << 8);
  for (const [index, [name]] of KNOWN.entries()) out[(name.length << 8) | name.charCodeAt(0)] = index + 1;
  return out;
}
