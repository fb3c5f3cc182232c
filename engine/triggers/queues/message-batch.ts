import type { SourceMessage } from "./source.ts";

/** Bytes that are delivered in one call. */
const MAX_BATCH_BYTES = 2 ** 20;

/** Puts messages of the same lane together, in their order, up to `size` for one call. */
export function inBatches(messages: readonly SourceMessage[], size: number): SourceMessage[] {
  if (size <= 1) return [...messages];
  const open = new Map<string | undefined, { parts: SourceMessage[]; bytes: number }>();
  const batches: SourceMessage[][] = [];
  for (const message of messages) {
    const { lane, body } = message;
    let batch = open.get(lane);
    if (!batch || batch.parts.length >= size || batch.bytes + body.byteLength > MAX_BATCH_BYTES) {
      batch = { parts: [], bytes: 0 };
      open.set(lane, batch);
      batches.push(batch.parts);
    }
    batch.parts.push(message);
    batch.bytes += body.byteLength;
  }
  return batches.flatMap((parts) => {
    const [first] = parts;
    return first ? [together(first, parts)] : [];
  });
}

/** Its name says where it begins and how many it has: the same messages together have the same. */
function together(first: SourceMessage, parts: readonly SourceMessage[]): SourceMessage {
  const sameKey = parts.every(({ key }) => key === first.key);
  return {
    ...first,
    id: `${first.id}-${parts.length}`,
    key: sameKey ? first.key : undefined,
    headers: {},
    body: new Uint8Array(),
    parts,
  };
}
