import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Database } from "./database.ts";

const CHECKPOINT_BYTES = 512 * 1024;
const BODY = "x".repeat(2_000);

let directory = "";
let database: Database;
const fail = (error: unknown): never => {
  throw error;
};
const open = (folder: string): Database => new Database(join(folder, "state.db"), fail, CHECKPOINT_BYTES);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "lk-database-"));
  database = open(directory);
});
afterEach(() => {
  database.close();
  rmSync(directory, { recursive: true, force: true });
});

const put = (rv: number, settled: number[] = []): Promise<void> =>
  database.append({
    rv,
    type: "ADDED",
    resource: "things",
    key: `things\n/${rv % 100}`,
    body: `${rv} ${BODY}`,
    afterCommit: () => settled.push(rv),
  });

test("the log is moved and begins anew while writes go on; everything settles once and in order", async () => {
  const settled: number[] = [];
  let rv = 0;
  const writer = async (): Promise<void> => {
    while (rv < 3_000) await put(++rv, settled);
  };
  await Promise.all(Array.from({ length: 4 }, writer));
  expect(settled).toEqual(Array.from({ length: rv }, (_each, at) => at + 1));
  // Far less than the 30 MB and more that were written.
  expect(statSync(join(directory, "state.db-wal")).size).toBeLessThan(8 * CHECKPOINT_BYTES);
  database.close();
  database = open(directory);
  const versions = database.readObjects().map(({ body }) => Number(body.split(" ")[0]));
  expect(versions.toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 100 }, (_each, at) => rv - 99 + at),
  );
  expect(database.readMeta("resourceVersion")).toBe(String(rv));
});

test("a change that comes after the end is refused, and is no failure of the disk", async () => {
  await put(1);
  database.close();
  await expect(put(2)).rejects.toThrow("the store is closed");
  await new Promise((turn) => setImmediate(turn));
  database = open(directory);
  expect(database.readObjects().map(({ body }) => body.split(" ")[0])).toEqual(["1"]);
});

test("what has settled is in the files, whatever becomes of the process", async () => {
  await Promise.all([put(1), put(2), put(3)]);
  const copy = join(directory, "copy");
  mkdirSync(copy);
  for (const name of ["state.db", "state.db-wal"]) copyFileSync(join(directory, name), join(copy, name));
  const after = open(copy);
  expect(after.readHistory().map(({ rv }) => rv)).toEqual([1, 2, 3]);
  after.close();
});

test("closing settles what was appended and what the disk is still busy with", async () => {
  const settled: number[] = [];
  const first = put(1, settled);
  await new Promise((resolve) => setImmediate(resolve));
  const second = put(2, settled);
  database.close();
  await Promise.all([first, second]);
  expect(settled).toEqual([1, 2]);
  database = open(directory);
  expect(database.readMeta("resourceVersion")).toBe("2");
});

test("opening waits for a lock that is about to go", async () => {
  await put(1);
  database.close();
  const holder = new Worker(
    `const { DatabaseSync } = require("node:sqlite");
     const { parentPort, workerData } = require("node:worker_threads");
     const db = new DatabaseSync(workerData);
     db.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; INSERT INTO meta VALUES ('held', '1'); COMMIT");
     parentPort.postMessage("held");
     Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
     db.close();`,
    {
      eval: true,
      workerData: join(directory, "state.db"),
      execArgv: ["--disable-warning=ExperimentalWarning"],
    },
  );
  await once(holder, "message");
  database = open(directory);
  expect(database.readMeta("held")).toBe("1");
  expect(database.readMeta("resourceVersion")).toBe("1");
});
