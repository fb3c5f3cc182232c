/** Framing of the binary messages: big-endian lengths, so that a head of known size says how much follows. */

const TEXT = new TextEncoder();
const HEAD_BYTES = 4;
const FRAME_HEAD_BYTES = 5;

/** A JSON value with its length in front: the start of a message whose payload follows as raw bytes. */
export function messageHead(value: unknown): Uint8Array {
  const json = TEXT.encode(JSON.stringify(value));
  const head = new Uint8Array(HEAD_BYTES + json.length);
  new DataView(head.buffer).setUint32(0, json.length);
  head.set(json, HEAD_BYTES);
  return head;
}

/** One frame: type byte, length, content. */
export function frame(type: number, content: Uint8Array): Uint8Array {
  const whole = new Uint8Array(FRAME_HEAD_BYTES + content.length);
  const view = new DataView(whole.buffer);
  view.setUint8(0, type);
  view.setUint32(1, content.length);
  whole.set(content, FRAME_HEAD_BYTES);
  return whole;
}

/** Collects exactly-sized pieces from a stream of chunks of any size. */
export class ByteQueue {
  private readonly chunks: Uint8Array[] = [];
  private size = 0;

  get length(): number {
    return this.size;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.chunks.push(chunk);
    this.size += chunk.length;
  }

  /** The next `length` bytes, or undefined while fewer are there. */
  take(length: number): Uint8Array | undefined {
    if (this.size < length) return undefined;
    const piece = new Uint8Array(length);
    let at = 0;
    while (at < length) {
      const first = this.chunks[0];
      if (!first) break;
      const part = first.subarray(0, length - at);
      piece.set(part, at);
      at += part.length;
      if (part.length === first.length) this.chunks.shift();
      else this.chunks[0] = first.subarray(part.length);
    }
    this.size -= length;
    return piece;
  }
}

const readLength = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);

/** What `readMessage` yields: the JSON first, then the payload in pieces. */
export type MessagePart =
  | { readonly kind: "json"; readonly value: unknown }
  | { readonly kind: "payload"; readonly bytes: Uint8Array };

/** Splits a message (`messageHead`, then payload) from a stream. Throws RangeError for a head over `maxJsonBytes`, SyntaxError for bad JSON or an early end. */
export async function* readMessage(
  source: AsyncIterable<Uint8Array>,
  maxJsonBytes: number,
): AsyncGenerator<MessagePart> {
  const queue = new ByteQueue();
  let jsonLength: number | undefined;
  let done = false;
  for await (const chunk of source) {
    if (done) {
      yield { kind: "payload", bytes: chunk };
      continue;
    }
    queue.push(chunk);
    if (jsonLength === undefined) {
      const head = queue.take(HEAD_BYTES);
      if (!head) continue;
      jsonLength = readLength(head, 0);
      if (jsonLength > maxJsonBytes)
        throw new RangeError(`The message's head has ${jsonLength} bytes, allowed are ${maxJsonBytes}`);
    }
    const json = queue.take(jsonLength);
    if (!json) continue;
    done = true;
    yield { kind: "json", value: JSON.parse(new TextDecoder().decode(json)) };
    const rest = queue.take(queue.length);
    if (rest && rest.length > 0) yield { kind: "payload", bytes: rest };
  }
  if (!done) throw new SyntaxError("The message ends inside its head");
}

export interface Frame {
  readonly type: number;
  readonly content: Uint8Array;
}

/** Splits a stream into frames. Throws RangeError for a frame over `maxBytes`, SyntaxError when the stream ends inside a frame. */
export async function* readFrames(
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Frame> {
  const queue = new ByteQueue();
  let head: { type: number; length: number } | undefined;
  for await (const chunk of source) {
    queue.push(chunk);
    for (;;) {
      if (!head) {
        const bytes = queue.take(FRAME_HEAD_BYTES);
        if (!bytes) break;
        head = { type: bytes[0] ?? 0, length: readLength(bytes, 1) };
        if (head.length > maxBytes)
          throw new RangeError(`A frame has ${head.length} bytes, allowed are ${maxBytes}`);
      }
      const content = queue.take(head.length);
      if (!content) break;
      yield { type: head.type, content };
      head = undefined;
    }
  }
  if (head || queue.length > 0) throw new SyntaxError("The stream ends inside a frame");
}
