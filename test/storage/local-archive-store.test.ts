import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLocalArchiveStore } from "../../engine/storage/local-archive-store.ts";
import { archiveStoreConformance, chunksOf, codeOf, sha256 } from "./archive-store-conformance.ts";

let base: string;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "isotope-storage-"));
});
afterAll(() => rm(base, { recursive: true, force: true }));
const freshRoot = (): Promise<string> => mkdtemp(join(base, "store-"));
const fileOf = (root: string, digest: string): string => join(root, "archives", digest.slice(0, 2), digest);

archiveStoreConformance("local folder", async (maxArchiveBytes) => {
  const root = await freshRoot();
  return {
    store: await openLocalArchiveStore({ root, maxArchiveBytes }),
    damage: async (digest) => {
      const bytes = await readFile(fileOf(root, digest));
      bytes[0] = (bytes[0] ?? 0) ^ 1;
      await writeFile(fileOf(root, digest), bytes);
    },
    close: () => rm(root, { recursive: true }),
  };
});

describe("local archive store", () => {
  test("kill -9 at any moment: what was reported is there and whole, nothing else is visible", async () => {
    const root = await freshRoot();
    const reported: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      const child = spawn(
        process.execPath,
        [fileURLToPath(new URL("./upload-child.ts", import.meta.url)), root],
        {
          stdio: ["ignore", "pipe", "inherit"],
        },
      );
      let text = "";
      let killed = false;
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        if (killed || text.split("\n").length < 4 + round) return;
        killed = true;
        setTimeout(() => child.kill("SIGKILL"), round * 3);
      });
      await once(child, "close");
      reported.push(...text.split("\n").filter((line) => line.length === 64));
    }
    const store = await openLocalArchiveStore({ root });
    expect(await readdir(join(root, "tmp"))).toEqual([]);
    const listed = await store.list();
    expect(reported.length).toBeGreaterThan(8);
    expect(new Set(listed.map(({ digest }) => digest))).toEqual(
      new Set([...reported, ...listed.map(({ digest }) => digest)]),
    );
    for (const { digest } of listed) expect(sha256(await buffer(await store.open(digest)))).toBe(digest);
    for (const digest of reported) expect(await store.find(digest)).toBeDefined();
  });
  test("a full disk: 507, and nothing is stored", async () => {
    const root = await freshRoot();
    let writes = 0;
    const fullDisk: typeof open = async (...args) => {
      const file = await open(...args);
      file.write = async () => {
        writes += 1;
        throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
      };
      return file;
    };
    const store = await openLocalArchiveStore({ root, openFile: fullDisk });
    expect(await codeOf(store.put(chunksOf(Buffer.alloc(5000))))).toBe("storage_full");
    expect(writes).toBe(1);
    expect(await store.list()).toEqual([]);
    expect(await readdir(join(root, "tmp"))).toEqual([]);
  });
  test("a crash inside a removal removes nothing", async () => {
    const root = await freshRoot();
    const store = await openLocalArchiveStore({ root });
    const bytes = Buffer.from("kept");
    const { archive } = await store.put(chunksOf(bytes));
    await rename(fileOf(root, archive.digest), join(root, "trash", `${archive.digest}-crashed`));
    const again = await openLocalArchiveStore({ root });
    expect(await buffer(await again.open(archive.digest))).toEqual(bytes);
    expect(await readdir(join(root, "trash"))).toEqual([]);
  });
  test("a large damaged archive never comes out whole", async () => {
    const root = await freshRoot();
    const store = await openLocalArchiveStore({ root });
    const bytes = Buffer.alloc(9 * 2 ** 20, 7);
    const { archive } = await store.put(chunksOf(bytes, 2 ** 20));
    const file = await open(fileOf(root, archive.digest), "r+");
    await file.write(Buffer.from("x"), 0, 1, 5_000_000);
    await file.close();
    let received = 0;
    const error: unknown = await (async () => {
      for await (const chunk of await store.open(archive.digest))
        if (Buffer.isBuffer(chunk)) received += chunk.length;
    })().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "archive_unavailable" });
    expect(received).toBeLessThan(bytes.length);
    expect(await store.find(archive.digest)).toBeUndefined();
  });
});
