/** Frames of a byte stream: a uint32 (big-endian) length and that many bytes. */
export interface FrameReader {
  /** Takes bytes; calls back for each frame that is complete. @throws {RangeError} when a frame claims to be larger than allowed */
  push(chunk: Buffer): void;
}

export function frameReader(maxBytes: number, onFrame: (frame: Buffer) => void): FrameReader {
  let chunks: Buffer[] = [];
  let size = 0;
  const take = (count: number): Buffer => {
    const [only] = chunks;
    const all = chunks.length === 1 && only ? only : Buffer.concat(chunks);
    chunks = all.length === count ? [] : [all.subarray(count)];
    size -= count;
    return all.subarray(0, count);
  };
  let wanted: number | undefined;
  return {
    push: (chunk) => {
      chunks.push(chunk);
      size += chunk.length;
      for (;;) {
        if (wanted === undefined) {
          if (size < 4) return;
          wanted = take(4).readUInt32BE(0);
          if (wanted > maxBytes)
            throw new RangeError(`Cannot read a frame of ${wanted} bytes: at most ${maxBytes} are allowed`);
        }
        if (size < wanted) return;
        const frame = take(wanted);
        wanted = undefined;
        onFrame(frame);
      }
    },
  };
}

/** The bytes of a frame. */
export function frameOf(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(4 + length);
  frame.writeUInt32BE(length);
  frame.write(text, 4);
  return frame;
}
