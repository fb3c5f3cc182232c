import type { Readable } from "node:stream";

/** Largest answer that is read. */
const MAX_ANSWER_BYTES = 50 * 2 ** 20;

/** An answer's body. @throws {RangeError} when it is too large */
export async function readAnswer(body: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    if (!Buffer.isBuffer(chunk)) continue;
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) {
      body.destroy();
      throw new RangeError(`The function's answer is larger than ${MAX_ANSWER_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
