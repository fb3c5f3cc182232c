import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { mayReferToFiles } from "./file-references.ts";

/** What the texts of a folder's modules tell before the bundler runs. */
export interface ModuleScan {
  /** Whether `npm:` occurs. */
  readonly npm: boolean;
  /** Modules that may find files beside themselves, relative to the folder. */
  readonly referring: readonly string[];
}

const MODULE = /\.[cm]?[jt]sx?$/;
// Larger modules are generated data or bundles; nothing is looked for in them but by the bundler.
const MAX_SCANNED_BYTES = 4 * 2 ** 20;

/** Looks through all modules below a folder. `packages`: also through those in `node_modules`. */
export async function scanModules(folder: string, packages: boolean): Promise<ModuleScan> {
  const referring: string[] = [];
  let npm = false;
  const visit = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
      const path = below === "" ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) {
        if (packages || entry.name !== "node_modules") await visit(path);
        continue;
      }
      if (!entry.isFile() || !MODULE.test(entry.name) || entry.name.endsWith(".d.ts")) continue;
      const { size } = await stat(join(folder, path));
      if (size > MAX_SCANNED_BYTES) {
        npm = true;
        continue;
      }
      const code = await readFile(join(folder, path));
      if (mayReferToFiles(code)) referring.push(path);
      npm ||= code.includes("npm:");
    }
  };
  await visit("");
  return { npm, referring };
}
