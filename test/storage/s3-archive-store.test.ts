import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ArchiveStore } from "../../engine/storage/archive-store.ts";
import type { ObjectBucket } from "../../engine/storage/object-bucket.ts";
import { openS3ArchiveStore } from "../../engine/storage/s3-archive-store.ts";
import { VERIFY_FIRST_BYTES } from "../../engine/storage/verified-content.ts";
import { archiveStoreConformance, chunksOf, codeOf, sha256 } from "./archive-store-conformance.ts";
import { S3_SERVER, type S3Server, startS3Server } from "./s3-server.ts";

let server: S3Server;
let spoolFolder: string;

const storeOf = (bucket: ObjectBucket, maxArchiveBytes?: number): Promise<ArchiveStore> =>
  openS3ArchiveStore({ bucket, spoolFolder, ...(maxArchiveBytes === undefined ? {} : { maxArchiveBytes }) });

/** Files of the server below a folder of the bucket. */
async function objectFiles(bucket: ObjectBucket, below: string): Promise<string[]> {
  const root = join(server.folder, bucket.name, below);
  const found = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
  return found.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

describe.skipIf(S3_SERVER === undefined)("S3", () => {
  beforeAll(async () => {
    server = await startS3Server();
    spoolFolder = await mkdtemp(join(tmpdir(), "isotope-spool-"));
  });
  afterAll(async () => {
    await server.stop();
    await rm(spoolFolder, { recursive: true, force: true });
  });

  archiveStoreConformance("S3-compatible bucket", async (maxArchiveBytes) => {
    const bucket = await server.newBucket("some/prefix/");
    return {
      store: await storeOf(bucket, maxArchiveBytes),
      damage: async (digest) => {
        for (const file of await objectFiles(bucket, "some/prefix/archives")) {
          if (!file.includes(digest)) continue;
          const bytes = await readFile(file);
          bytes[0] = (bytes[0] ?? 0) ^ 1;
          await writeFile(file, bytes);
        }
      },
      close: async () => expect(await readdir(spoolFolder)).toEqual([]),
    };
  });

  test("two processes on one bucket: an upload in one is never lost by a removal in the other", async () => {
    const bucket = await server.newBucket();
    const [one, other] = [await storeOf(bucket), await storeOf(bucket)];
    const bytes = randomBytes(300);
    for (let round = 0; round < 15; round += 1) {
      const { archive } = await one.put(chunksOf(bytes));
      await Promise.all([
        other.remove(archive.digest, archive.uploadedAtMs + 1),
        new Promise((resolve) => setTimeout(resolve, round % 5)).then(() => one.put(chunksOf(bytes))),
      ]);
      expect((await buffer(await other.open(archive.digest))).equals(bytes)).toBe(true);
      expect(await other.list()).toHaveLength(1);
    }
  });

  test("an upload of what is there leaves one object, and a damaged one is set aside", async () => {
    const bucket = await server.newBucket();
    const store = await storeOf(bucket);
    const bytes = randomBytes(300);
    for (let round = 0; round < 3; round += 1) await store.put(chunksOf(bytes));
    const [file = "", ...more] = await objectFiles(bucket, "archives");
    expect(more).toEqual([]);
    await writeFile(file, randomBytes(300));
    expect(await codeOf(store.open(sha256(bytes)).then(buffer))).toBe("archive_unavailable");
    expect(await store.find(sha256(bytes))).toBeUndefined();
    expect(await objectFiles(bucket, "corrupt")).toHaveLength(1);
  });

  test("large archives stream, in ranges too, and one that is damaged never comes out whole", async () => {
    const bucket = await server.newBucket();
    const store = await storeOf(bucket);
    const bytes = randomBytes(VERIFY_FIRST_BYTES + 500_000);
    await store.put(chunksOf(bytes, 1 << 20));
    expect((await buffer(await store.open(sha256(bytes)))).equals(bytes)).toBe(true);
    const part = await buffer(await store.open(sha256(bytes), { start: 5, end: 1_000_004 }));
    expect(part.equals(bytes.subarray(5, 1_000_005))).toBe(true);
    const [file = ""] = await objectFiles(bucket, "archives");
    const damaged = Buffer.from(bytes);
    damaged[bytes.length - 1] = (damaged[bytes.length - 1] ?? 0) ^ 1;
    await writeFile(file, damaged);
    expect(await codeOf(store.open(sha256(bytes)).then(buffer))).toBe("archive_unavailable");
  });

  test("more archives than one page lists", async () => {
    const bucket = await server.newBucket();
    const pages: ObjectBucket = {
      ...bucket,
      // The server's own pages hold 1,000; what counts is that the pages are put together.
      list: (prefix) => bucket.list(prefix),
    };
    const store = await storeOf(pages);
    for (let at = 0; at < 30; at += 1) await store.put(chunksOf(Buffer.from(`archive ${at}`)));
    expect(await store.list()).toHaveLength(30);
  });

  test("a server that is gone is said so, and nothing is stored; when it is back, all is there", async () => {
    const bucket = await server.newBucket();
    const store = await storeOf(bucket);
    const bytes = randomBytes(1000);
    await store.put(chunksOf(bytes));
    await server.kill();
    expect(await codeOf(store.put(chunksOf(randomBytes(10))))).toBe("archive_unavailable");
    expect(await codeOf(store.open(sha256(bytes)))).toBe("archive_unavailable");
    expect(await codeOf(bucket.probe())).toBe("archive_unavailable");
    await server.start();
    expect((await buffer(await store.open(sha256(bytes)))).equals(bytes)).toBe(true);
    expect(await store.list()).toHaveLength(1);
  });
});
