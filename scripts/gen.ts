import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { generatedFiles } from "./generated-files.ts";

/**
 * Writes every generated file; with `--check` writes nothing and exits 1 when one differs.
 * Usage: node scripts/gen.ts [--check]
 */
const root = join(import.meta.dirname, "..");
const check = process.argv.includes("--check");

const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
};

const stale: string[] = [];
for (const [name, content] of await generatedFiles()) {
  const path = join(root, name);
  if (read(path) === content) continue;
  stale.push(name);
  if (check) continue;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

if (check && stale.length > 0) {
  console.error(`Generated files are stale: ${stale.join(", ")}. Run \`npm run gen\` and commit them`);
  process.exit(1);
}
console.log(stale.length > 0 ? `Wrote ${stale.join(", ")}` : "Generated files are up to date");
