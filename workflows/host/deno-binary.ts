import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The Deno that comes with the packages. */
export function denoBinary(): string {
  const manifest = createRequire(import.meta.url).resolve("deno/package.json");
  for (let folder = dirname(manifest); folder !== dirname(folder); folder = dirname(folder)) {
    const candidate = join(folder, ".bin", "deno");
    if (existsSync(candidate)) return candidate;
  }
  return join(dirname(manifest), "bin.cjs");
}
