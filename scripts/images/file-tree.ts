import { createHash } from "node:crypto";
import { createReadStream, lstatSync, lutimesSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

/** Time of every file in an image: what is in it shall not depend on when it was built. 1980, the oldest that zip knows. */
export const SOURCE_DATE_EPOCH = 315_532_800;

interface TreeEntry {
  /** Relative to the tree's root. */
  readonly path: string;
  readonly kind: "file" | "folder" | "link";
  readonly mode: number;
  readonly sizeBytes: number;
}

function* walk(root: string, below = ""): Generator<TreeEntry> {
  for (const name of readdirSync(join(root, below)).sort()) {
    const path = below === "" ? name : `${below}/${name}`;
    const info = lstatSync(join(root, path));
    const kind = info.isSymbolicLink() ? "link" : info.isDirectory() ? "folder" : "file";
    yield { path, kind, mode: info.mode & 0o7777, sizeBytes: info.isFile() ? info.size : 0 };
    if (kind === "folder") yield* walk(root, path);
  }
}

/** sha256 (hex) of all that a tree holds: paths, kinds, modes, contents, targets of links. */
export async function treeDigest(root: string): Promise<string> {
  const hash = createHash("sha256");
  for (const { path, kind, mode } of walk(root)) {
    const what =
      kind === "file"
        ? await fileDigest(join(root, path))
        : kind === "link"
          ? readlinkSync(join(root, path))
          : "";
    hash.update(`${JSON.stringify([path, kind, kind === "link" ? 0 : mode, what])}\n`);
  }
  return hash.digest("hex");
}

export async function fileDigest(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** Bytes of all files of a tree. */
export function treeBytes(root: string): number {
  let bytes = 0;
  for (const { sizeBytes } of walk(root)) bytes += sizeBytes;
  return bytes;
}

/** Gives everything in a tree the same time. */
export function freezeTimes(root: string): void {
  for (const { path } of walk(root)) lutimesSync(join(root, path), SOURCE_DATE_EPOCH, SOURCE_DATE_EPOCH);
  lutimesSync(root, SOURCE_DATE_EPOCH, SOURCE_DATE_EPOCH);
}
