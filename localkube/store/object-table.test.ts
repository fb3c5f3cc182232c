import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { KubeObject } from "./kube-object.ts";
import { ObjectTable } from "./object-table.ts";

let directory = "";
let table: ObjectTable;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "lk-table-"));
  table = new ObjectTable(join(directory, "state.db"), (error) => {
    throw error;
  });
});
afterEach(() => {
  table.close();
  rmSync(directory, { recursive: true, force: true });
});

const object = (name: string): KubeObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: {
    name,
    namespace: "n",
    uid: name,
    resourceVersion: String(table.nextResourceVersion),
    creationTimestamp: "2024-01-01T00:00:00Z",
  },
});

test("history is bounded: what fell out of it is refused, the rest is resumed", async () => {
  const first = table.resourceVersion;
  for (let n = 0; n < 12_000; n++) void table.write("ADDED", "configmaps", object(`o${n}`));
  await table.pending();
  expect(() => table.watch("configmaps", first, () => undefined)).toThrow("too old resource version");
  expect(() => table.watch("configmaps", table.resourceVersion + 1, () => undefined)).toThrow("too large");
  const names: string[] = [];
  table.watch("configmaps", table.resourceVersion - 3, (event) =>
    names.push(event.current.object.metadata.name),
  );
  expect(names).toEqual(["o11997", "o11998", "o11999"]);
});

test("a fresh database starts above what a wiped one gave out", async () => {
  await table.write("ADDED", "configmaps", object("a"));
  const before = table.resourceVersion;
  expect(before).toBeGreaterThan(1_000_000);
});

test("no event is delivered before its commit", async () => {
  const seen: string[] = [];
  table.watch("configmaps", table.resourceVersion, (event) => seen.push(event.current.object.metadata.name));
  const written = table.write("ADDED", "configmaps", object("a"));
  expect(seen).toEqual([]);
  await written;
  expect(seen).toEqual(["a"]);
});

test("state, versions and history are there again after a close", async () => {
  await table.write("ADDED", "configmaps", object("a"));
  const from = table.resourceVersion;
  await table.write("ADDED", "configmaps", object("b"));
  const last = table.resourceVersion;
  table.close();
  table = new ObjectTable(join(directory, "state.db"), () => undefined);
  expect(table.resourceVersion).toBe(last);
  expect([...table.list("configmaps", "n")].map((stored) => stored.object.metadata.name)).toEqual(["a", "b"]);
  const names: string[] = [];
  table.watch("configmaps", from, (event) => names.push(event.current.object.metadata.name));
  expect(names).toEqual(["b"]);
});
