import { randomUUID } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ArchiveError } from "./archive-error.ts";
import type { ArchiveLimits } from "./archive-limits.ts";
import { type ArchiveFormat, readArchive } from "./read-archive.ts";

/**
 * Unpacks an archive to `folder`, which must not exist: all of it or nothing, since a half-read archive is unpacked
 * beside it and removed. Modes are 0644/0755, whatever the archive says. Returns the paths. Throws `ArchiveError`.
 */
export async function extractArchive(
  bytes: Uint8Array,
  format: Exclude<ArchiveFormat, "file">,
  folder: string,
  limits?: ArchiveLimits,
): Promise<string[]> {
  const partial = `${folder}.partial-${randomUUID()}`;
  const paths: string[] = [];
  const folders = new Set<string>();
  try {
    await mkdir(partial, { recursive: true, mode: 0o755 });
    for await (const file of readArchive(bytes, format, limits)) {
      const target = join(partial, file.path);
      const parent = dirname(target);
      if (!folders.has(parent)) {
        await mkdir(parent, { recursive: true });
        folders.add(parent);
      }
      await writeFile(target, file.bytes, { flag: "wx", mode: file.executable ? 0o755 : 0o644 });
      paths.push(file.path);
    }
    if (paths.length === 0) throw new ArchiveError("empty", "The archive holds no file");
    await rename(partial, folder);
    return paths;
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}
