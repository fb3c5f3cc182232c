import type { Readable } from "node:stream";
import { PlatformError } from "../../api/errors.ts";
import type { ObjectBucket } from "./object-bucket.ts";
import type { ContentSource } from "./verified-content.ts";

/** The object's bytes; a whole reading uses the answer that is there already. */
export function objectSource(
  bucket: ObjectBucket,
  key: string,
  sizeBytes: number,
  first: Readable | undefined,
): ContentSource {
  let whole = first;
  let part: Readable | undefined;
  return {
    sizeBytes,
    bytes: async function* (start, end) {
      if (start >= end) return;
      if (start === 0 && end === sizeBytes && whole) {
        const content = whole;
        whole = undefined;
        part = content;
        yield* content;
        return;
      }
      part = await bucket.read(key, { start, end: end - 1 });
      if (!part) throw new PlatformError("archive_unavailable", "The object was removed while it was read");
      yield* part;
    },
    close: async () => {
      whole?.destroy();
      part?.destroy();
    },
  };
}
