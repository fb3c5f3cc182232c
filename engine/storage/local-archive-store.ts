import { randomUUID } from "node:crypto";
import {
  type FileHandle,
  link,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  stat,
  unlink,
  utimes,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import {
  type ArchiveStore,
  type ByteRange,
  DEFAULT_MAX_ARCHIVE_BYTES,
  digestOf,
  type PutOptions,
  type StoredArchive,
} from "./archive-store.ts";
import { type ContentSource, damagedArchive, verifiedContent } from "./verified-content.ts";
import { syncFolder, unless } from "./sync-folder.ts";
import { archiveNotFound, diskError, errno, writeUpload } from "./write-upload.ts";

/*
 * Archives in a folder: `archives/<first two digits>/<digest>`, with `tmp/` and `trash/` on the same file system.
 * Invariants:
 * 1. A file under `archives/` is complete: it was written to `tmp/`, synced and checked before it got its name.
 * 2. An upload is reported as stored only after its folder entry is synced, so it survives the loss of power.
 * 3. An upload of content that is there refreshes its time BEFORE it relies on it; a removal moves the file to `trash/`
 *    and looks at its time THEN. Whichever comes first, content that was reported as stored is under `archives/`.
 * 4. A start empties `tmp/` and brings `trash/` back: a crash inside a removal removes nothing.
 */

export interface LocalArchiveStoreOptions {
  readonly root: string;
  readonly maxArchiveBytes?: number;
  /** Opens files for writing; tests put a full disk here. */
  readonly openFile?: typeof open;
  readonly now?: () => number;
}

interface Folders {
  readonly archives: string;
  readonly tmp: string;
  readonly trash: string;
  readonly corrupt: string;
}

/** An archive store in a folder of this machine. One process owns the folder. */
export async function openLocalArchiveStore(options: LocalArchiveStoreOptions): Promise<ArchiveStore> {
  const folders: Folders = {
    archives: join(options.root, "archives"),
    tmp: join(options.root, "tmp"),
    trash: join(options.root, "trash"),
    corrupt: join(options.root, "corrupt"),
  };
  await rm(folders.tmp, { recursive: true, force: true });
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o700 });
  await restoreTrash(folders);
  const now = options.now ?? Date.now;
  const maxBytes = options.maxArchiveBytes ?? DEFAULT_MAX_ARCHIVE_BYTES;
  return {
    kind: { type: "local", bucket: "" },
    put: (content, expected = {}) =>
      put({ folders, now, maxBytes, openFile: options.openFile ?? open }, content, expected),
    find: (digest) => find(folders, digest),
    open: (digest, range) => openArchive(folders, digest, range),
    list: () => list(folders),
    remove: (digest, uploadedBeforeMs) => remove(folders, digest, uploadedBeforeMs),
  };
}

const pathOf = (folders: Folders, digest: string): string =>
  join(folders.archives, digest.slice(0, 2), digest);

interface PutContext {
  readonly folders: Folders;
  readonly maxBytes: number;
  readonly openFile: typeof open;
  readonly now: () => number;
}

async function put(
  context: PutContext,
  content: AsyncIterable<Uint8Array>,
  expected: PutOptions,
): Promise<{ archive: StoredArchive; created: boolean }> {
  const temporary = join(context.folders.tmp, randomUUID());
  try {
    const written = await writeUpload(context, temporary, content, expected);
    const created = await commit(context, temporary, written.digest);
    return { archive: { ...written, uploadedAtMs: context.now() }, created };
  } catch (error) {
    throw diskError(error);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Gives a complete file its name (invariants 1 to 3). Returns false when the content was there. */
async function commit(context: PutContext, temporary: string, digest: string): Promise<boolean> {
  const target = pathOf(context.folders, digest);
  const seconds = context.now() / 1000;
  await utimes(temporary, seconds, seconds);
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  for (;;) {
    // `link` refuses to replace, so of two uploads at once one creates and the other one finds.
    const created = await link(temporary, target).then(() => true, unless("EEXIST", false));
    if (created || (await utimes(target, seconds, seconds).then(() => true, unless("ENOENT", false)))) {
      await syncFolder(dirname(target));
      await syncFolder(context.folders.archives);
      return created;
    }
  }
}

async function find(folders: Folders, digest: string): Promise<StoredArchive | undefined> {
  const info = await stat(pathOf(folders, digest)).catch(unless("ENOENT", undefined));
  return info && { digest, sizeBytes: info.size, uploadedAtMs: info.mtimeMs };
}

async function openArchive(folders: Folders, digest: string, range?: ByteRange): Promise<Readable> {
  const path = pathOf(folders, digest);
  const file = await open(path, "r").catch((error: unknown) => {
    throw errno(error) === "ENOENT" ? archiveNotFound(digest) : diskError(error);
  });
  const corrupt = async (): Promise<Error> => {
    // Out of the way, so that an upload of the right content heals it.
    await rename(path, join(folders.corrupt, `${digest}-${randomUUID()}`)).catch(unless("ENOENT", undefined));
    return damagedArchive(digest);
  };
  try {
    const { size } = await file.stat();
    return Readable.from(verifiedContent(fileSource(file, size), digest, range, corrupt), {
      objectMode: false,
    });
  } catch (error) {
    await file.close();
    throw diskError(error);
  }
}

const CHUNK_BYTES = 256 * 1024;

function fileSource(file: FileHandle, sizeBytes: number): ContentSource {
  return {
    sizeBytes,
    bytes: async function* (start, end) {
      for (let at = start; at < end; ) {
        const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - at));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
        if (bytesRead === 0) return;
        yield buffer.subarray(0, bytesRead);
        at += bytesRead;
      }
    },
    close: () => file.close(),
  };
}

async function list(folders: Folders): Promise<StoredArchive[]> {
  const found: StoredArchive[] = [];
  for (const prefix of (await readdir(folders.archives)).sort()) {
    for (const name of (await readdir(join(folders.archives, prefix))).sort()) {
      const digest = digestOf(name);
      const archive = digest === undefined ? undefined : await find(folders, digest);
      if (archive) found.push(archive);
    }
  }
  return found;
}

async function remove(folders: Folders, digest: string, uploadedBeforeMs?: number): Promise<boolean> {
  const path = pathOf(folders, digest);
  const trashed = join(folders.trash, `${digest}-${randomUUID()}`);
  if (uploadedBeforeMs === undefined) {
    return await unlink(path).then(() => true, unless("ENOENT", false));
  }
  const before = await find(folders, digest);
  if (!before || before.uploadedAtMs >= uploadedBeforeMs) return false;
  if (!(await rename(path, trashed).then(() => true, unless("ENOENT", false)))) return false;
  // Invariant 3: an upload may have refreshed the time between the look and the move.
  const moved = await stat(trashed);
  const refreshed = moved.mtimeMs >= uploadedBeforeMs;
  if (refreshed) await link(trashed, path).catch(unless("EEXIST", undefined));
  await unlink(trashed);
  return !refreshed;
}

async function restoreTrash(folders: Folders): Promise<void> {
  for (const name of await readdir(folders.trash)) {
    const digest = digestOf(name.slice(0, 64));
    const trashed = join(folders.trash, name);
    if (digest !== undefined) {
      await mkdir(dirname(pathOf(folders, digest)), { recursive: true, mode: 0o700 });
      await link(trashed, pathOf(folders, digest)).catch(unless("EEXIST", undefined));
    }
    await unlink(trashed);
  }
}
