import { ChunkDecoder } from "./chunk-decoder.ts";

const EMPTY = Buffer.alloc(0);
const SMALLEST = 256;

/**
 * The body of a request on its way in: finds its bytes in what the client sends, and holds them as long as it may be sent again.
 *
 * 1. `held()` is the whole body so far, or the body can no longer be sent from its start (`overflowed`) and nothing is held.
 * 2. Held bytes are copied into one growing buffer, so that a body of one-byte chunks costs no more than its bytes.
 * 3. What `held()` returned is never overwritten: later bytes go behind it or into a larger copy.
 */
export class RequestBody {
  readonly #decoder: ChunkDecoder | undefined;
  #remaining: number;
  complete = false;
  failed = false;
  /** Where the last `next` found body bytes; empty when both are equal. */
  dataStart = 0;
  dataEnd = 0;
  received = 0;
  #held = EMPTY;
  heldBytes = 0;
  overflowed = false;

  /** @param length bytes (more than 0), or -1 for chunked */
  constructor(length: number) {
    this.#decoder = length < 0 ? new ChunkDecoder() : undefined;
    this.#remaining = length;
  }

  /** Bytes still to come, -1 when unknown. */
  get remaining(): number {
    return this.#remaining;
  }

  /**
   * Goes on until a run of body bytes, the body's end or the end of the input.
   * @returns index after what was consumed
   */
  next(bytes: Uint8Array, from: number, end: number): number {
    let after: number;
    if (this.#decoder === undefined) {
      after = Math.min(end, from + this.#remaining);
      this.dataStart = from;
      this.dataEnd = after;
      this.#remaining -= after - from;
      this.complete = this.#remaining === 0;
    } else {
      after = this.#decoder.step(bytes, from, end);
      this.dataStart = this.#decoder.dataStart;
      this.dataEnd = this.#decoder.dataEnd;
      this.complete = this.#decoder.done;
      this.failed = this.#decoder.failed;
    }
    this.received += this.dataEnd - this.dataStart;
    return after;
  }

  /** Keeps a copy of the run that `next` found. */
  hold(bytes: Uint8Array, start: number, end: number): void {
    const needed = this.heldBytes + end - start;
    if (needed > this.#held.length) {
      const declared = this.#decoder === undefined && this.#remaining === 0 ? needed : SMALLEST;
      const larger = Buffer.allocUnsafe(Math.max(needed, this.#held.length * 2, declared));
      this.#held.copy(larger, 0, 0, this.heldBytes);
      this.#held = larger;
    }
    this.#held.set(bytes.subarray(start, end), this.heldBytes);
    this.heldBytes = needed;
  }

  /** The held bytes. */
  held(): Buffer {
    return this.#held.subarray(0, this.heldBytes);
  }

  /** Gives up holding: the body cannot be sent again. */
  overflow(): void {
    this.overflowed = true;
    this.#held = EMPTY;
    this.heldBytes = 0;
  }
}
