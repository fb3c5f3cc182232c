import { type CodeTree, unpackedTree } from "./code-tree.ts";
import { type HeldFile, holdFile } from "./held-file.ts";
import { digest } from "./primordials.ts";
import { isZip, readZip, ZIP_LIMITS } from "./zip.ts";

/** sha256 of bytes, in hexadecimal. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await digest("SHA-256", bytes)).toHex();
}

/** Name of the file that an archive which is no zip becomes. */
export const SINGLE_FILE = "index.js";

/** From here on the usual import takes several times as long as V8 alone, and a bundle's map is held back. */
export const LARGE_FROM_BYTES = 8_192;

/** The map of a bundle that Deno does not load itself: only our own log reads it. */
const isLargeBundlesMap = (name: string, sizes: ReadonlyMap<string, number>): boolean =>
  /\.m?js\.map$/.test(name) && (sizes.get(name.slice(0, -".map".length)) ?? 0) >= LARGE_FROM_BYTES;

/**
 * Writes an archive, a zip or one JavaScript file, into the new folder `target`. Large source maps are filled in when the tree settles.
 * Rejects with UnsafeArchive.
 */
export async function writeArchive(bytes: Uint8Array<ArrayBuffer>, target: string): Promise<CodeTree> {
  const found = isZip(bytes)
    ? await readZip(bytes, ZIP_LIMITS, isLargeBundlesMap)
    : [{ name: SINGLE_FILE, content: bytes }];
  Deno.mkdirSync(target);
  const folders = new Set<string>([target]);
  const files = new Map<string, Uint8Array>();
  const held = new Map<string, HeldFile>();
  for (const entry of found) {
    const path = `${target}/${entry.name}`;
    const folder = path.slice(0, path.lastIndexOf("/"));
    if (!folders.has(folder)) {
      Deno.mkdirSync(folder, { recursive: true });
      folders.add(folder);
    }
    if ("packed" in entry) {
      held.set(path, holdFile(path, entry));
    } else if (entry.content !== null) {
      Deno.writeFileSync(path, entry.content, { createNew: true, mode: 0o444 });
      files.set(path, entry.content);
    }
  }
  return unpackedTree(files, held);
}
