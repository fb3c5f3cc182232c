import { randomBytes, randomUUID } from "node:crypto";
import { mkdir, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import {
  type ArchiveStore,
  type ByteRange,
  DEFAULT_MAX_ARCHIVE_BYTES,
  digestOf,
  type PutOptions,
  type StoredArchive,
} from "./archive-store.ts";
import type { ObjectBucket, ObjectFacts } from "./object-bucket.ts";
import { objectSource } from "./object-source.ts";
import { damagedArchive, verifiedContent } from "./verified-content.ts";
import { archiveNotFound, diskError, writeUpload } from "./write-upload.ts";

/*
 * Archives in a bucket: every upload is an object of its own, `archives/<digest>.<time of upload>-<random>`; the newest counts.
 * Invariants:
 * 1. An object is complete or not there: the bucket takes it whole, by the digest that its request is signed with.
 * 2. A removal names the objects that it has seen and judged by their time. An upload at the same time writes another one, so
 *    whatever the order, content that was reported as stored is there. No condition of the bucket's is needed for that.
 * 3. An upload removes older objects of its content only after its own is stored, and only those that it saw before that.
 */

export interface S3ArchiveStoreOptions {
  readonly bucket: ObjectBucket;
  /** Folder of this machine where uploads wait until they are whole; emptied at the start. */
  readonly spoolFolder: string;
  readonly maxArchiveBytes?: number;
  readonly now?: () => number;
}

interface Context {
  readonly bucket: ObjectBucket;
  readonly spoolFolder: string;
  readonly maxBytes: number;
  readonly now: () => number;
  /** Uploads of this process by digest: the same content at once is stored by one after the other. */
  readonly uploads: Map<string, Promise<unknown>>;
}

const FOLDER = "archives/";
const CORRUPT_FOLDER = "corrupt/";
const OBJECT = /^archives\/([0-9a-f]{64})\.(\d{13})-[0-9a-f]{12}$/;
/** An object that was replaced between the look and the reading is looked for again. */
const READ_ATTEMPTS = 4;

/** An archive store in an S3-compatible bucket. Several processes may share a bucket. */
export async function openS3ArchiveStore(options: S3ArchiveStoreOptions): Promise<ArchiveStore> {
  const { bucket, spoolFolder } = options;
  await mkdir(spoolFolder, { recursive: true, mode: 0o700 });
  for (const left of await readdir(spoolFolder))
    if (left.startsWith(SPOOL_PREFIX)) await rm(join(spoolFolder, left), { force: true });
  const context: Context = {
    bucket,
    spoolFolder,
    maxBytes: options.maxArchiveBytes ?? DEFAULT_MAX_ARCHIVE_BYTES,
    now: options.now ?? Date.now,
    uploads: new Map(),
  };
  return {
    kind: { type: "s3", bucket: bucket.name },
    put: (content, expected = {}) => put(context, content, expected),
    find: async (digest) => newestOf(await generations(context, digest))?.archive,
    open: (digest, range) => openArchive(context, digest, range),
    list: () => list(context),
    remove: (digest, uploadedBeforeMs) => remove(context, digest, uploadedBeforeMs),
  };
}

const SPOOL_PREFIX = "archive-";

interface Generation {
  readonly key: string;
  readonly archive: StoredArchive;
}

function generationOf({ key, sizeBytes }: ObjectFacts): Generation | undefined {
  const [, digest, time] = OBJECT.exec(key) ?? [];
  if (digest === undefined) return undefined;
  return { key, archive: { digest, sizeBytes, uploadedAtMs: Number(time) } };
}

async function generations({ bucket }: Context, digest?: string): Promise<Generation[]> {
  if (digest !== undefined && digestOf(digest) === undefined) return [];
  const found: Generation[] = [];
  for await (const facts of bucket.list(digest === undefined ? FOLDER : `${FOLDER}${digest}.`)) {
    const generation = generationOf(facts);
    if (generation) found.push(generation);
  }
  return found;
}

const newestOf = (all: readonly Generation[]): Generation | undefined =>
  all.toSorted((a, b) => (a.key < b.key ? 1 : -1))[0];

async function put(
  context: Context,
  content: AsyncIterable<Uint8Array>,
  expected: PutOptions,
): Promise<{ archive: StoredArchive; created: boolean }> {
  const file = join(context.spoolFolder, `${SPOOL_PREFIX}${randomUUID()}`);
  try {
    const written = await writeUpload(
      { maxBytes: context.maxBytes, openFile: open },
      file,
      content,
      expected,
    );
    return await inTurn(context.uploads, written.digest, async () => {
      const before = await generations(context, written.digest);
      const archive: StoredArchive = { ...written, uploadedAtMs: context.now() };
      const time = String(archive.uploadedAtMs).padStart(13, "0");
      await context.bucket.put({
        key: `${FOLDER}${written.digest}.${time}-${randomBytes(6).toString("hex")}`,
        sha256: written.digest,
        sizeBytes: written.sizeBytes,
        file,
      });
      // Left behind, they cost room until the next upload or removal, no more.
      await context.bucket.delete(before.map(({ key }) => key)).catch(() => undefined);
      return { archive, created: before.length === 0 };
    });
  } catch (error) {
    throw diskError(error);
  } finally {
    await rm(file, { force: true });
  }
}

/** Runs actions of one key one after the other. */
async function inTurn<T>(
  turns: Map<string, Promise<unknown>>,
  key: string,
  action: () => Promise<T>,
): Promise<T> {
  const before = turns.get(key) ?? Promise.resolve();
  const mine = before.then(action, action);
  turns.set(key, mine);
  try {
    return await mine;
  } finally {
    if (turns.get(key) === mine) turns.delete(key);
  }
}

async function openArchive(context: Context, digest: string, range?: ByteRange): Promise<Readable> {
  for (let attempt = 1; ; attempt += 1) {
    const generation = newestOf(await generations(context, digest));
    if (!generation) throw archiveNotFound(digest);
    const { key, archive } = generation;
    const first = archive.sizeBytes === 0 ? undefined : await context.bucket.read(key);
    if (!first && archive.sizeBytes > 0) {
      if (attempt < READ_ATTEMPTS) continue;
      throw archiveNotFound(digest);
    }
    const corrupt = async (): Promise<Error> => {
      await context.bucket.move(key, `${CORRUPT_FOLDER}${key}`);
      return damagedArchive(digest);
    };
    const content = verifiedContent(
      objectSource(context.bucket, key, archive.sizeBytes, first),
      digest,
      range,
      corrupt,
    );
    return Readable.from(content, { objectMode: false });
  }
}

async function list(context: Context): Promise<StoredArchive[]> {
  const newest = new Map<string, Generation>();
  for (const generation of await generations(context)) {
    const known = newest.get(generation.archive.digest);
    if (!known || known.key < generation.key) newest.set(generation.archive.digest, generation);
  }
  return Array.from(newest.values(), ({ archive }) => archive);
}

async function remove(context: Context, digest: string, uploadedBeforeMs?: number): Promise<boolean> {
  const seen = await generations(context, digest);
  const newest = newestOf(seen);
  if (!newest) return false;
  if (uploadedBeforeMs !== undefined && newest.archive.uploadedAtMs >= uploadedBeforeMs) return false;
  await context.bucket.delete(seen.map(({ key }) => key));
  return true;
}
