import { HEX_VALUE, NAME_BYTE, VALUE_BYTE } from "./byte-class.ts";

/**
 * Strict, resumable decoder of `Transfer-Encoding: chunked`. Yields the places of body bytes in the caller's buffer, copies nothing.
 * Sizes have 1 to 8 hexadecimal digits; extensions and trailers are checked, bounded and dropped.
 */

const SIZE_FIRST = 0;
const SIZE = 1;
const EXTENSION = 2;
const SIZE_LF = 3;
const DATA = 4;
const DATA_CR = 5;
const DATA_LF = 6;
const TRAILER_START = 7;
const TRAILER_NAME = 8;
const TRAILER_VALUE = 9;
const TRAILER_LF = 10;
const END_LF = 11;
const DONE = 12;
const FAILED = 13;

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
        return byte === 59 ? EXTENSION : FAILED;
      }
      case EXTENSION:
        if (byte === 13) return SIZE_LF;
        return VALUE_BYTE[byte] === 1 && ++this.#extensionBytes <= MAX_EXTENSION_BYTES ? EXTENSION : FAILED;
      default:
        if (byte !== 10) return FAILED;
        this.#digits = 0;
        return this.#remaining === 0 ? TRAILER_START : DATA;
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
