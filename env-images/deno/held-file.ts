import { builtIn } from "./built-in.ts";
import { crc32 } from "./crc32.ts";
import { type HeldZipFile, inflating } from "./zip.ts";

/**
 * A large file of an archive that only a stack needs: the source map of a bundle. Inflating it takes as long as compiling the bundle,
 * so it is done when its text is asked for, or some time after the function serves. The file is there from the start; it is opened
 * while the pod may still write there, and filled later.
 */
export interface HeldFile {
  /** Its text, now. Throws when the archive holds something else. */
  text(): string;
  /** Fills the file on disk. Rejects when the archive holds something else: the file then stays short. */
  fill(): Promise<void>;
}

export function holdFile(path: string, { packed, size, crc, name }: HeldZipFile): HeldFile {
  const file = Deno.openSync(path, { write: true, createNew: true, mode: 0o444 });
  const damaged = (): never => {
    throw new RangeError(`Cannot unpack "${name}": its content is not what the archive says`);
  };
  let filled: Promise<void> | undefined;
  const fill = async (): Promise<void> => {
    try {
      let length = 0;
      let sum = 0;
      for await (const chunk of inflating(packed)) {
        length += chunk.length;
        if (length > size) damaged();
        sum = crc32(chunk, sum);
        for (let at = 0; at < chunk.length; ) at += await file.write(chunk.subarray(at));
      }
      if (length !== size || sum !== crc) damaged();
    } finally {
      file.close();
    }
  };
  return {
    text: () => {
      const bytes = builtIn("node:zlib").inflateRawSync(packed, { maxOutputLength: Math.max(1, size) });
      return bytes.length === size && crc32(bytes) === crc ? new TextDecoder().decode(bytes) : damaged();
    },
    fill: () => (filled ??= fill()),
  };
}
