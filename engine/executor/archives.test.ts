import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { archiveCache } from "./archives.ts";

const content = (letter: string, size = 10) => Buffer.from(letter.repeat(size));
const digestOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

function source(contents: readonly Buffer[]) {
  const byDigest = new Map(contents.map((bytes) => [digestOf(bytes), bytes]));
  let reads = 0;
  return {
    reads: () => reads,
    read: async (digest: string) => {
      reads += 1;
      await Promise.resolve();
      const found = byDigest.get(digest);
      if (!found) throw new Error("404");
      return found;
    },
  };
}

test("readers of one archive share one read, and it stays in memory", async () => {
  const a = content("a");
  const from = source([a]);
  const cache = archiveCache(from, 100);
  const both = await Promise.all([cache.read(digestOf(a)), cache.read(digestOf(a))]);
  expect(both).toEqual([a, a]);
  await cache.read(digestOf(a));
  expect(from.reads()).toBe(1);
});

test("memory is bounded: what was read longest ago goes first, and what is larger than all of it is never kept", async () => {
  const [a, b, c, large] = [content("a"), content("b"), content("c"), content("d", 30)];
  const from = source([a, b, c, large]);
  const cache = archiveCache(from, 25);
  for (const bytes of [a, b, a, c, large]) await cache.read(digestOf(bytes));
  expect(cache.sizeBytes).toBe(20);
  const before = from.reads();
  await cache.read(digestOf(a));
  expect(from.reads()).toBe(before);
  await cache.read(digestOf(b));
  await cache.read(digestOf(large));
  expect(from.reads()).toBe(before + 2);
});

test("a failed read is not remembered", async () => {
  const a = content("a");
  let broken = true;
  const cache = archiveCache({ read: async () => (broken ? Promise.reject(new Error("down")) : a) }, 100);
  await expect(cache.read(digestOf(a))).rejects.toMatchObject({ code: "archive_unavailable" });
  broken = false;
  expect(await cache.read(digestOf(a))).toBe(a);
});

test("content with another digest is refused", async () => {
  const cache = archiveCache({ read: async () => content("b") }, 100);
  await expect(cache.read(digestOf(content("a")))).rejects.toMatchObject({ code: "archive_unavailable" });
});
