import { randomUUID } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ArchiveError } from "./archive-error.ts";
import type { ArchiveLimits } from "./archive-limits.ts";
import type { ArchiveFormat } from "./archive-format.ts";
import { readArchive } from "./read-archive.ts";

const WRITES_AT_ONCE = 32;

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
  const writes: Promise<void>[] = [];
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
      const write = writeFile(target, file.bytes, { flag: "wx", mode: file.executable ? 0o755 : 0o644 });
      // Awaited with its batch; a failure before that must not count as unhandled.
      write.catch(() => {});
      writes.push(write);
      paths.push(file.path);
      if (writes.length >= WRITES_AT_ONCE) await Promise.all(writes.splice(0));
    }
    await Promise.all(writes);
    if (paths.length === 0) throw new ArchiveError("empty", "The archive holds no file");
    await rename(partial, folder);
    return paths;
  } catch (error) {
    await Promise.allSettled(writes);
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}
