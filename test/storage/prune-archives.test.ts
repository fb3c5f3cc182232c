import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type ReferencingObjects, referencedDigests } from "../../engine/storage/archive-references.ts";
import { type ArchiveStore, archiveId } from "../../engine/storage/archive-store.ts";
import { openLocalArchiveStore } from "../../engine/storage/local-archive-store.ts";
import { archivePruner } from "../../engine/storage/prune-archives.ts";
import { processLog } from "../../net/log.ts";
import { chunksOf } from "./archive-store-conformance.ts";

const log = processLog("test", { write: () => undefined });
const HOUR = 3_600_000;
let root: string;
let store: ArchiveStore;
let nowMs: number;
let references: ReferencingObjects;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "isotope-prune-"));
  nowMs = Date.parse("2026-01-01T00:00:00Z");
  store = await openLocalArchiveStore({ root, now: () => nowMs });
  references = { packages: [], functions: [], versions: [], workflows: [] };
});
afterEach(() => rm(root, { recursive: true }));

const put = async (text: string): Promise<string> =>
  (await store.put(chunksOf(Buffer.from(text)))).archive.digest;
const pruner = (graceMs = HOUR) =>
  archivePruner({ store, listReferences: async () => references, graceMs, log, now: () => nowMs });
const environment = { name: "deno", namespace: "default" };

test("every way to name an archive keeps it", () => {
  const digest = (letter: string): string => letter.repeat(64);
  const found = referencedDigests({
    packages: [
      {
        spec: {
          environment,
          source: { type: "url", url: `http://storage/v1/archive?id=sha256%3A${digest("a")}` },
          deployment: {
            type: "url",
            url: "http://elsewhere/x.zip",
            checksum: { type: "sha256", sum: digest("b") },
          },
        },
        status: { contentHash: archiveId(digest("c")), sourceDigest: digest("d") },
      },
    ],
    functions: [],
    versions: [
      {
        spec: {
          functionName: "f",
          functionUID: "u",
          functionGeneration: 1,
          sequence: 1,
          snapshot: { environment, package: {}, InvokeStrategy: {} },
          packageDigest: archiveId(digest("e")),
          publishedAt: "2026-01-01T00:00:00Z",
        },
      },
    ],
    workflows: [
      {
        status: {
          definition: {
            digest: digest("f"),
            generation: 1,
            packageDigest: digest("0"),
            functions: [],
          },
          heldDefinitions: [digest("1")],
        },
      },
    ],
  });
  expect([...found].sort()).toEqual(["0", "1", "a", "b", "c", "d", "e", "f"].map(digest));
});

test("an archive goes after it was nameless for the whole grace time, not before", async () => {
  const digest = await put("x");
  const pruning = pruner();
  nowMs += 10 * HOUR;
  expect(await pruning.prune()).toEqual([]);
  nowMs += HOUR - 1;
  expect(await pruning.prune()).toEqual([]);
  nowMs += 1;
  expect(await pruning.prune()).toEqual([digest]);
  expect(await store.list()).toEqual([]);
});

test("an upload of the same content starts the grace time anew", async () => {
  await put("x");
  const pruning = pruner();
  nowMs += 2 * HOUR;
  await pruning.prune();
  nowMs += HOUR / 2;
  await put("x");
  nowMs += HOUR / 2;
  expect(await pruning.prune()).toEqual([]);
  expect(await store.list()).toHaveLength(1);
});

test("a Package that comes back in time keeps its archive", async () => {
  const digest = await put("x");
  const pruning = pruner();
  nowMs += 2 * HOUR;
  await pruning.prune();
  references = {
    ...references,
    packages: [{ spec: { environment, deployment: { checksum: { type: "sha256", sum: digest } } } }],
  };
  nowMs += 2 * HOUR;
  expect(await pruning.prune()).toEqual([]);
  references = { ...references, packages: [] };
  nowMs += HOUR;
  expect(await pruning.prune()).toEqual([]);
  expect(await store.list()).toHaveLength(1);
});

test("nothing goes while the references cannot be listed", async () => {
  await put("x");
  const failing = archivePruner({
    store,
    listReferences: () => Promise.reject(new Error("down")),
    graceMs: 0,
    log,
    now: () => nowMs,
  });
  nowMs += 9 * HOUR;
  await expect(failing.prune()).rejects.toThrow("down");
  expect(await store.list()).toHaveLength(1);
});
