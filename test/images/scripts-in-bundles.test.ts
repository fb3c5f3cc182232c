import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bundleProgram } from "../../scripts/images/bundle-program.ts";
import { ROOT } from "../../scripts/images/image-table.ts";
import { runCommand } from "../../scripts/images/run-command.ts";
import { stageScripts } from "../../scripts/images/stage-image.ts";

/** What keeps its state in Redis reads its scripts when it is loaded; in the image all modules of a process are one file. */
const ENTRIES = ["engine/triggers/main", "workflows/main"];
let app: string;

beforeAll(async () => {
  const cache = join(ROOT, ".cache");
  mkdirSync(cache, { recursive: true });
  // Below the repository, whose packages stay imports.
  app = mkdtempSync(join(cache, "bundle-"));
  writeFileSync(join(app, "package.json"), '{"type":"module"}');
  await bundleProgram({
    entries: ENTRIES.map((entry) => `${entry}.ts`),
    target: app,
    external: ["@kubernetes/client-node", "esbuild"],
    platform: "node",
  });
  stageScripts(app);
});
afterAll(() => rmSync(app, { recursive: true, force: true }));

test.each(ENTRIES)("the bundle of %s finds the scripts of the store", async (entry) => {
  expect(await runCommand(process.execPath, [join(app, `${entry}.js`), "--help"])).toContain("--redis-url");
});
