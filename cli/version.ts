import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

/** The version of this program, from its package.json: beside `cli/` in the repository, above `dist/` in the installed package. */
export function ownVersion(): string {
  for (const up of ["..", "../.."]) {
    try {
      const manifest = z
        .object({ name: z.string(), version: z.string() })
        .parse(JSON.parse(readFileSync(join(import.meta.dirname, up, "package.json"), "utf8")));
      return manifest.version;
    } catch {
      // Not on this level.
    }
  }
  return "unknown";
}
