import { HEX_VALUE, NAME_BYTE, VALUE_BYTE } from "./byte-class.ts";

/**
 * Strict, resumable decoder of `Transfer-Encoding: chunked`. Yields the places of body bytes in the caller's buffer, copies nothing.
 * Sizes have 1 to 8 hexadecimal digits; extensions (`;name`, `;name=token`, `;name="text"`, without spaces around) and trailers are checked, bounded and
 * dropped.
 */

const SIZE_FIRST = 0;
const SIZE = 1;
const EXTENSION_START = 2;
const EXTENSION_NAME = 3;
const EXTENSION_VALUE_START = 4;
const EXTENSION_TOKEN = 5;
const EXTENSION_QUOTED = 6;
const EXTENSION_ESCAPED = 7;
const EXTENSION_END = 8;
const SIZE_LF = 9;
const DATA = 10;
const DATA_CR = 11;
const DATA_LF = 12;
const TRAILER_START = 13;
const TRAILER_NAME = 14;
const TRAILER_VALUE = 15;
const TRAILER_LF = 16;
const END_LF = 17;
const DONE = 18;
const FAILED = 19;

const MAX_DIGITS = 8;
/** Of all extensions of a body together, and of all its trailers. */
const MAX_EXTENSION_BYTES = 4096;
const MAX_TRAILER_BYTES = 8192;

export class ChunkDecoder {
  #state = SIZE_FIRST;
  #digits = 0;
  #remaining = 0;
  #extensionBytes = 0;
  #trailerBytes = 0;
  /** Where the last `step` found body bytes; empty when both are equal. */
  dataStart = 0;
  dataEnd = 0;

  get done(): boolean {
    return this.#state === DONE;
  }

  get failed(): boolean {
    return this.#state === FAILED;
  }

  /**
   * Goes on until a run of body bytes, the end of the body, an error or the end of the input.
   * @returns index after what was consumed; after `done` the rest of the input is not the body's
   */
  step(bytes: Uint8Array, from: number, end: number): number {
    this.dataStart = this.dataEnd = 0;
    let i = from;
    while (i < end && this.#state < DONE) {
      if (this.#state === DATA) {
        const take = Math.min(this.#remaining, end - i);
        this.dataStart = i;
        this.dataEnd = i + take;
        this.#remaining -= take;
        if (this.#remaining === 0) this.#state = DATA_CR;
        return i + take;
      }
      this.#state = this.#state < DATA ? this.#size(bytes[i]!) : this.#after(bytes[i]!);
      i++;
    }
    return i;
  }

  #size(byte: number): number {
    switch (this.#state) {
      case SIZE_FIRST:
      case SIZE: {
        const digit = HEX_VALUE[byte]!;
        if (digit !== 255) {
          if (this.#digits === MAX_DIGITS) return FAILED;
          this.#digits++;
          this.#remaining = this.#remaining * 16 + digit;
          return SIZE;
        }
        if (this.#digits === 0) return FAILED;
        if (byte === 13) return SIZE_LF;
        return byte === 59 ? EXTENSION_START : FAILED;
      }
      case SIZE_LF:
        if (byte !== 10) return FAILED;
        this.#digits = 0;
        return this.#remaining === 0 ? TRAILER_START : DATA;
      default:
        return ++this.#extensionBytes <= MAX_EXTENSION_BYTES ? afterExtensionByte(this.#state, byte) : FAILED;
    }
  }

  #after(byte: number): number {
    if (this.#state >= TRAILER_START && ++this.#trailerBytes > MAX_TRAILER_BYTES) return FAILED;
    switch (this.#state) {
      case DATA_CR:
        return byte === 13 ? DATA_LF : FAILED;
      case DATA_LF:
        return byte === 10 ? SIZE_FIRST : FAILED;
      case TRAILER_START:
        if (byte === 13) return END_LF;
        return NAME_BYTE[byte] === 0 ? FAILED : TRAILER_NAME;
      case TRAILER_NAME:
        if (byte === 58) return TRAILER_VALUE;
        return NAME_BYTE[byte] === 0 ? FAILED : TRAILER_NAME;
      case TRAILER_VALUE:
        if (byte === 13) return TRAILER_LF;
        return VALUE_BYTE[byte] === 1 ? TRAILER_VALUE : FAILED;
      case TRAILER_LF:
        return byte === 10 ? TRAILER_START : FAILED;
      default:
        return byte === 10 ? DONE : FAILED;
    }
  }
}

function afterExtensionByte(state: number, byte: number): number {
  switch (state) {
    case EXTENSION_START:
      return NAME_BYTE[byte] === 0 ? FAILED : EXTENSION_NAME;
    case EXTENSION_NAME:
      if (byte === 61) return EXTENSION_VALUE_START;
      return NAME_BYTE[byte] === 0 ? endOfExtension(byte) : EXTENSION_NAME;
    case EXTENSION_VALUE_START:
      if (byte === 34) return EXTENSION_QUOTED;
      return NAME_BYTE[byte] === 0 ? FAILED : EXTENSION_TOKEN;
    case EXTENSION_TOKEN:
      return NAME_BYTE[byte] === 0 ? endOfExtension(byte) : EXTENSION_TOKEN;
    case EXTENSION_QUOTED:
      if (byte === 34) return EXTENSION_END;
      if (byte === 92) return EXTENSION_ESCAPED;
      return VALUE_BYTE[byte] === 1 ? EXTENSION_QUOTED : FAILED;
    case EXTENSION_ESCAPED:
      return VALUE_BYTE[byte] === 1 ? EXTENSION_QUOTED : FAILED;
    default:
      return endOfExtension(byte);
  }
}

function endOfExtension(byte: number): number {
  if (byte === 13) return SIZE_LF;
  return byte === 59 ? EXTENSION_START : FAILED;
}
