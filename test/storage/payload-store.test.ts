import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { payloadOf } from "../../api/wire/payloads.ts";
import { openFolderBucket } from "../../engine/storage/folder-bucket.ts";
import type { ObjectBucket } from "../../engine/storage/object-bucket.ts";
import {
  openLocalPayloadStore,
  openPayloadStore,
  type PayloadStore,
} from "../../engine/storage/payload-store.ts";
import { chunksOf, codeOf, sha256 } from "./archive-store-conformance.ts";
import { newPayload, payloadStoreConformance } from "./payload-store-conformance.ts";
import { S3_SERVER, type S3Server, startS3Server } from "./s3-server.ts";

let base: string;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "isotope-payloads-"));
});
afterAll(() => rm(base, { recursive: true, force: true }));

/** All files below a folder. */
async function filesBelow(root: string): Promise<string[]> {
  const found = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
  return found.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function damage(root: string): Promise<void> {
  for (const file of await filesBelow(root)) {
    const bytes = await readFile(file);
    bytes[0] = (bytes[0] ?? 0) ^ 1;
    await writeFile(file, bytes);
  }
}

payloadStoreConformance("folder", async (maxBytes, now) => {
  const root = await mkdtemp(join(base, "store-"));
  const another = async (): Promise<PayloadStore> =>
    openPayloadStore({
      bucket: await openFolderBucket(root),
      spoolFolder: await mkdtemp(join(base, "spool-")),
      maxBytes,
      now,
    });
  return {
    store: await another(),
    again: another,
    damage: () => damage(root),
    files: async () => (await filesBelow(root)).length,
    close: () => rm(root, { recursive: true }),
  };
});

describe.skipIf(S3_SERVER === undefined)("payloads on S3", () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await startS3Server();
  });
  afterAll(() => server?.stop());

  payloadStoreConformance("S3-compatible bucket", async (maxBytes, now) => {
    const bucket = await server.newBucket("some/prefix/");
    const folder = join(server.folder, bucket.name, "some/prefix");
    const another = async (): Promise<PayloadStore> =>
      openPayloadStore({ bucket, spoolFolder: await mkdtemp(join(base, "spool-")), maxBytes, now });
    return {
      store: await another(),
      again: another,
      damage: () => damage(folder),
      files: async () => (await filesBelow(folder)).length,
      close: async () => undefined,
    };
  });

  test("a server that is gone is said so, and takes no room", async () => {
    const bucket = await server.newBucket();
    const store = await openPayloadStore({
      bucket,
      spoolFolder: await mkdtemp(join(base, "spool-")),
      maxBytes: 1e9,
    });
    const bytes = randomBytes(1_000);
    const payload = newPayload(bytes, { expiresAtMs: Date.now() + 60_000 });
    await store.put(payload, chunksOf(bytes));
    await server.kill();
    expect(await codeOf(store.put({ ...payload, id: "another" }, chunksOf(bytes)))).toBe(
      "archive_unavailable",
    );
    expect(await codeOf(store.open(payload))).toBe("archive_unavailable");
    expect(store.use().bytes).toBe(1_000);
    await server.start();
    expect((await buffer(await store.open(payload))).equals(bytes)).toBe(true);
  });
});

describe("payloads in a folder", () => {
  const bytes = randomBytes(5_000);
  const payload = newPayload(bytes, { expiresAtMs: Date.now() + 3_600_000 });

  test("a full disk: 507, nothing is stored, no room is taken", async () => {
    const root = await mkdtemp(join(base, "full-"));
    const openFile: typeof open = async (...args) => {
      const file = await open(...args);
      file.write = async () => {
        throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
      };
      return file;
    };
    const bucket: ObjectBucket = await openFolderBucket(root);
    const store = await openPayloadStore({
      bucket,
      spoolFolder: join(root, "spool"),
      maxBytes: 1e9,
      openFile,
    });
    expect(await codeOf(store.put(payload, chunksOf(bytes)))).toBe("storage_full");
    expect(await filesBelow(root)).toEqual([]);
    expect(store.use().bytes).toBe(0);
  });

  test("what a killed process has left in the spool goes, and the folders of past hours", async () => {
    const root = await mkdtemp(join(base, "left-"));
    await mkdir(join(root, "spool"));
    await writeFile(join(root, "spool", "payload-left"), bytes);
    const store = await openLocalPayloadStore(root);
    await store.put(payload, chunksOf(bytes));
    expect(await filesBelow(join(root, "spool"))).toEqual([]);
    await store.remove(payload);
    expect(await readdir(join(root, "payloads"))).toEqual([]);
  });

  test("kill -9 at any moment: what was reported is there and whole, what is there is whole", async () => {
    const root = await mkdtemp(join(base, "killed-"));
    const reported: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      const child = spawn(
        process.execPath,
        [fileURLToPath(new URL("./payload-child.ts", import.meta.url)), root],
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
      reported.push(...text.split("\n").slice(0, -1));
    }
    const store = await openLocalPayloadStore(root);
    expect(reported.length).toBeGreaterThan(8);
    for (const ref of reported) {
      const there = payloadOf(ref);
      if (!there) throw new Error(`"${ref}" names no payload`);
      expect(sha256(await buffer(await store.open(there)))).toBe(there.sha256);
    }
    await store.sweep();
    expect(store.use().count).toBeGreaterThanOrEqual(reported.length);
    expect((await filesBelow(root)).length).toBe(store.use().count);
  });
});
