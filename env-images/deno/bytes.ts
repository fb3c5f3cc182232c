/** Bodies, read and counted. */
import {
  NativeReadableStream,
  NativeUint8Array,
  readerCancel,
  readerRead,
  requestBody,
  requestBytes,
  streamReader,
  uncurryThis,
} from "./primordials.ts";

const subarray = uncurryThis(Uint8Array.prototype.subarray);
const setBytes = uncurryThis(Uint8Array.prototype.set);

const FIRST_BYTES = 64 * 1024;

/** The whole body, or null when it has more than `limit` bytes (the rest is not read). `expected`: its announced length, 0 = unknown. */
export async function readBody(
  request: Request,
  limit: number,
  expected = 0,
): Promise<Uint8Array<ArrayBuffer> | null> {
  if (expected > limit) return null;
  // The server holds the caller to the length that it announced.
  if (expected > 0) return await requestBytes(request);
  const body = requestBody(request);
  if (body === null) return new NativeUint8Array(0);
  const reader = streamReader(body);
  let bytes = new NativeUint8Array(FIRST_BYTES);
  let length = 0;
  for (;;) {
    const { done, value } = await readerRead(reader);
    if (done) return subarray(bytes, 0, length) as Uint8Array<ArrayBuffer>;
    if (length + value.length > limit) {
      await readerCancel(reader);
      return null;
    }
    if (length + value.length > bytes.length) {
      const larger = new NativeUint8Array((length + value.length) * 2);
      setBytes(larger, subarray(bytes, 0, length), 0);
      bytes = larger;
    }
    setBytes(bytes, value, length);
    length += value.length;
  }
}

/** The same stream, which fails once more than `limit` bytes have come; `exceeded` learns of it first. */
export function limitStream(
  body: ReadableStream<Uint8Array>,
  limit: number,
  exceeded: () => void,
): ReadableStream<Uint8Array> {
  const reader = streamReader(body);
  let length = 0;
  return new NativeReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { done, value } = await readerRead(reader);
        if (done) return controller.close();
        length += value.length;
        if (length > limit) {
          exceeded();
          await readerCancel(reader);
          throw new RangeError(`The request body has more than ${limit} bytes`);
        }
        controller.enqueue(value);
      },
      cancel: (reason) => readerCancel(reader, reason),
    },
    { highWaterMark: 0 },
  );
}
