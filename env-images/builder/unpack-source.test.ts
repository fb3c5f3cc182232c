import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { writeZip } from "../../net/archive/write-zip.ts";
import { unpackSource } from "./unpack-source.ts";

const root = mkdtempSync(join(tmpdir(), "unpack-source-"));
afterAll(() => rmSync(root, { recursive: true }));
let folders = 0;

it.each([
  ["app/index.ts", "", "app"],
  ["app/index.ts", "index.ts", "app"],
  ["functions/a.ts", "functions/a.ts", ""],
])("an archive of %s alone, with the entry %j, is a project in %j", async (path, entry, project) => {
  const folder = join(root, String(folders++));
  const zip = await writeZip([{ path, bytes: Buffer.from("export {}") }]);
  expect(await unpackSource(zip, "source.zip", folder, entry)).toBe(join(folder, project));
});
