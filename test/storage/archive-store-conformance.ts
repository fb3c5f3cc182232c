import { createHash, randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PlatformError } from "../../api/errors.ts";
import type { ArchiveStore } from "../../engine/storage/archive-store.ts";

export interface StoreUnderTest {
  readonly store: ArchiveStore;
  /** Overwrites the stored content of an archive behind the store's back; undefined where that cannot be done. */
  readonly damage?: (digest: string) => Promise<void>;
  readonly close: () => Promise<void>;
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

export async function* chunksOf(bytes: Uint8Array, size = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "none";
  } catch (error) {
    return error instanceof PlatformError ? error.code : String(error);
  }
}

/** What every archive store does. `open` gives an empty one with a cap of `maxBytes`. */
export function archiveStoreConformance(
  name: string,
  open: (maxBytes: number) => Promise<StoreUnderTest>,
): void {
  describe(`archive store: ${name}`, () => {
    const maxBytes = 100_000;
    let under: StoreUnderTest;
    beforeEach(async () => {
      under = await open(maxBytes);
    });
    afterEach(() => under.close());

    test("what was put is found, read back and listed", async () => {
      const { store } = under;
      const bytes = randomBytes(50_000);
      const put = await store.put(chunksOf(bytes), { sha256: sha256(bytes), sizeBytes: bytes.length });
      expect(put).toMatchObject({
        created: true,
        archive: { digest: sha256(bytes), sizeBytes: bytes.length },
      });
      expect(await store.find(sha256(bytes))).toMatchObject({ sizeBytes: bytes.length });
      expect((await buffer(await store.open(sha256(bytes)))).equals(bytes)).toBe(true);
      expect((await store.list()).map(({ digest }) => digest)).toEqual([sha256(bytes)]);
    });
    test("an empty archive is an archive", async () => {
      const { archive } = await under.store.put(chunksOf(new Uint8Array()));
      expect(archive).toMatchObject({ digest: sha256(new Uint8Array()), sizeBytes: 0 });
      expect(await buffer(await under.store.open(archive.digest))).toHaveLength(0);
    });
    test("the same content twice is one archive", async () => {
      const bytes = randomBytes(3000);
      await under.store.put(chunksOf(bytes));
      expect(await under.store.put(chunksOf(bytes))).toMatchObject({ created: false });
      expect(await under.store.list()).toHaveLength(1);
    });
    test("uploads of the same content at once all succeed", async () => {
      const bytes = randomBytes(20_000);
      const all = await Promise.all(Array.from({ length: 12 }, () => under.store.put(chunksOf(bytes, 500))));
      expect(all.filter(({ created }) => created)).toHaveLength(1);
      expect((await buffer(await under.store.open(sha256(bytes)))).equals(bytes)).toBe(true);
    });
    test("ranges", async () => {
      const bytes = randomBytes(5000);
      await under.store.put(chunksOf(bytes));
      const part = await buffer(await under.store.open(sha256(bytes), { start: 10, end: 4998 }));
      expect(part.equals(bytes.subarray(10, 4999))).toBe(true);
    });
    test.each([
      ["another digest", { sha256: "0".repeat(64) }, "archive_invalid"],
      ["a smaller size", { sizeBytes: 10 }, "archive_invalid"],
      ["a larger size", { sizeBytes: 5000 }, "archive_invalid"],
    ])("an upload that announces %s stores nothing", async (_what, announced, code) => {
      expect(await codeOf(under.store.put(chunksOf(randomBytes(3000)), announced))).toBe(code);
      expect(await under.store.list()).toEqual([]);
    });
    test("an upload over the cap stores nothing, announced or not", async () => {
      const bytes = randomBytes(maxBytes + 1);
      expect(await codeOf(under.store.put(chunksOf(bytes)))).toBe("archive_too_large");
      expect(await codeOf(under.store.put(chunksOf(bytes), { sizeBytes: bytes.length }))).toBe(
        "archive_too_large",
      );
      expect(await under.store.list()).toEqual([]);
    });
    test("an upload that breaks off stores nothing", async () => {
      async function* broken(): AsyncGenerator<Uint8Array> {
        yield randomBytes(2000);
        throw new Error("the caller went away");
      }
      await expect(under.store.put(broken())).rejects.toThrow("the caller went away");
      expect(await under.store.list()).toEqual([]);
    });
    test("what is not there", async () => {
      const digest = sha256(Buffer.from("never"));
      expect(await under.store.find(digest)).toBeUndefined();
      expect(await codeOf(under.store.open(digest))).toBe("archive_not_found");
      expect(await under.store.remove(digest)).toBe(false);
    });
    test("removal spares what was uploaded since", async () => {
      const bytes = randomBytes(100);
      const { archive } = await under.store.put(chunksOf(bytes));
      expect(await under.store.remove(archive.digest, archive.uploadedAtMs - 1000)).toBe(false);
      expect(await under.store.remove(archive.digest, archive.uploadedAtMs + 1000)).toBe(true);
      expect(await under.store.list()).toEqual([]);
    });
    test("an upload during removals is never lost", async () => {
      const bytes = randomBytes(500);
      for (let round = 0; round < 40; round += 1) {
        const before = await under.store.put(chunksOf(bytes));
        const [, put] = await Promise.all([
          under.store.remove(before.archive.digest, before.archive.uploadedAtMs + 1),
          new Promise((resolve) => setTimeout(resolve, 2 + (round % 3))).then(() =>
            under.store.put(chunksOf(bytes)),
          ),
        ]);
        expect((await buffer(await under.store.open(put.archive.digest))).equals(bytes)).toBe(true);
      }
    });
    test("a damaged archive is never served, and an upload heals it", async (context) => {
      if (!under.damage) {
        context.skip("this store cannot be damaged from outside");
        return;
      }
      const bytes = randomBytes(3000);
      const { archive } = await under.store.put(chunksOf(bytes));
      await under.damage(archive.digest);
      expect(await codeOf(under.store.open(archive.digest).then(buffer))).toBe("archive_unavailable");
      await under.store.put(chunksOf(bytes));
      expect((await buffer(await under.store.open(archive.digest))).equals(bytes)).toBe(true);
    });
  });
}
