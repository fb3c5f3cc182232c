import { buffer } from "node:stream/consumers";
import yazl from "yazl";

export interface ZipInput {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly executable?: boolean;
  /** Default true. Leave small or hot files stored: reading them back then costs nothing. */
  readonly compress?: boolean;
}

// DOS times have no zone: local fields that are the same everywhere give the same bytes everywhere.
const EPOCH = new Date(1980, 0, 1);

/**
 * A zip whose bytes depend on names and contents only: sorted unless `keepOrder`, one fixed time, modes 0644/0755.
 * Paths are written as given; they are to be relative with `/`.
 */
export async function writeZip(
  files: Iterable<ZipInput>,
  options: { keepOrder?: boolean } = {},
): Promise<Buffer> {
  const sorted = [...files];
  if (!options.keepOrder) sorted.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  const zip = new yazl.ZipFile();
  for (const file of sorted) {
    zip.addBuffer(Buffer.from(file.bytes.buffer, file.bytes.byteOffset, file.bytes.byteLength), file.path, {
      mtime: EPOCH,
      forceDosTimestamp: true,
      mode: file.executable ? 0o100755 : 0o100644,
      compress: file.compress ?? true,
    });
  }
  zip.end();
  return buffer(zip.outputStream);
}
