import type { HeldResponse } from "./types.ts";

const LAST_HELD_STATUS = 399;

/** A response on its way that is held back until it is whole, as long as it is small enough. */
export class ResponseHold {
  readonly #limitBytes: number;
  readonly #whole: (response: HeldResponse) => void;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(limitBytes: number, whole: (response: HeldResponse) => void) {
    this.#limitBytes = limitBytes;
    this.#whole = whole;
  }

  /** A response begins, after which earlier ones that broke off count no more. @param length of its body, negative when unknown */
  takes(status: number, length: number): boolean {
    this.#parts = [];
    this.#bytes = 0;
    return status >= 200 && status <= LAST_HELD_STATUS && length <= this.#limitBytes;
  }

  /** Keeps a copy. @returns false when it is too long now: `body` has all of it */
  add(bytes: Buffer, start: number, end: number): boolean {
    this.#parts.push(Buffer.from(bytes.subarray(start, end)));
    this.#bytes += end - start;
    return this.#bytes <= this.#limitBytes;
  }

  body(): Buffer {
    const [first] = this.#parts;
    return this.#parts.length === 1 && first ? first : Buffer.concat(this.#parts);
  }

  whole(status: number, lines: string): void {
    this.#whole({ status, lines, body: this.body() });
  }
}
