import { digest } from "./primordials.ts";
import { isZip, readZip } from "./zip.ts";

/** sha256 of bytes, in hexadecimal. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await digest("SHA-256", bytes)).toHex();
}

/** Name of the file that an archive which is no zip becomes. */
export const SINGLE_FILE = "index.js";

/** Writes an archive, a zip or one JavaScript file, into the new folder `target`. Rejects with UnsafeArchive. */
export async function writeArchive(bytes: Uint8Array<ArrayBuffer>, target: string): Promise<void> {
  const files = isZip(bytes) ? await readZip(bytes) : [{ name: SINGLE_FILE, content: bytes }];
  Deno.mkdirSync(target);
  const folders = new Set<string>([target]);
  for (const { name, content } of files) {
    const file = `${target}/${name}`;
    const folder = file.slice(0, file.lastIndexOf("/"));
    if (!folders.has(folder)) {
      Deno.mkdirSync(folder, { recursive: true });
      folders.add(folder);
    }
    Deno.writeFileSync(file, content, { createNew: true, mode: 0o444 });
  }
}
