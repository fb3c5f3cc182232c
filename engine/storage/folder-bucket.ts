import { createReadStream } from "node:fs";
import { link, mkdir, open, readdir, rename, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ObjectBucket, ObjectFacts } from "./object-bucket.ts";
import { syncFolder, unless } from "./sync-folder.ts";
import { diskError, errno } from "./write-upload.ts";

/*
 * A folder of this machine as a bucket: keys are paths below it. Invariants:
 * F1. An object is complete or not there: its file was whole and synced before it got its name.
 * F2. It is reported as stored only after its folder, and that one's, are synced, so that it survives the loss of power.
 * F3. Folders go when they are empty. Whoever needs one that has just gone makes it again.
 */

const FOLDER_ATTEMPTS = 5;

export async function openFolderBucket(root: string): Promise<ObjectBucket> {
  await mkdir(root, { recursive: true, mode: 0o700 });
  const pathOf = (key: string): string => join(root, key);
  return {
    name: "",
    put: ({ key, file }) => named(pathOf(key), (path) => rename(file, path)),
    read: async (key, range) => {
      const file = await open(pathOf(key), "r").catch(unless("ENOENT", undefined));
      if (!file) return undefined;
      return createReadStream("", { fd: file, ...range });
    },
    list: (prefix) => filesBelow(root, prefix),
    delete: async (keys) => {
      for (const key of keys) {
        await unlink(pathOf(key)).catch(unless("ENOENT", undefined));
        // Not if others are in it.
        await rmdir(dirname(pathOf(key))).catch(() => undefined);
      }
    },
    copy: async (from, to) => {
      // Contents never change, so that one file may have two names.
      if (!(await stat(pathOf(from)).catch(unless("ENOENT", undefined)))) return false;
      await named(pathOf(to), (path) => link(pathOf(from), path));
      return true;
    },
    move: async (from, to) => {
      if (await stat(pathOf(from)).catch(unless("ENOENT", undefined)))
        await named(pathOf(to), (path) => rename(pathOf(from), path));
    },
    probe: async () => void (await stat(root)),
    close: () => undefined,
  };
}

/** Gives a file its name in a folder that may not be there (any more), and syncs. */
async function named(path: string, give: (path: string) => Promise<void>): Promise<void> {
  const folder = dirname(path);
  for (let attempt = 1; ; attempt += 1)
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await give(path);
      await syncFolder(folder);
      await syncFolder(dirname(folder));
      return;
    } catch (error) {
      if (errno(error) !== "ENOENT" || attempt === FOLDER_ATTEMPTS) throw diskError(error);
    }
}

/** @param prefix ends with a slash */
async function* filesBelow(root: string, prefix: string): AsyncGenerator<ObjectFacts> {
  const entries = await readdir(join(root, prefix), { withFileTypes: true }).catch(unless("ENOENT", []));
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const key = prefix + entry.name;
    if (entry.isDirectory()) yield* filesBelow(root, `${key}/`);
    else {
      const facts = await stat(join(root, key)).catch(unless("ENOENT", undefined));
      if (facts) yield { key, sizeBytes: facts.size };
    }
  }
}
