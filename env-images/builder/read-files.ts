import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { BuildError } from "./build-error.ts";
import type { BundleFile } from "./bundle.ts";
import { FILES_FOLDER } from "./file-references.ts";

const MAX_FOLDER_FILES = 500;

/** The files (of folders: all in them) that modules read while they run, for the artifact. */
export async function readFiles(
  root: string,
  paths: Iterable<string>,
  maxBytes: number,
): Promise<BundleFile[]> {
  const found = new Map<string, BundleFile>();
  let total = 0;
  const add = async (path: string, budget: { files: number }): Promise<void> => {
    const info = await lstat(join(root, path));
    if (info.isDirectory()) {
      for (const name of (await readdir(join(root, path))).sort()) {
        if (name !== "node_modules") await add(`${path}/${name}`, budget);
      }
      return;
    }
    if (!info.isFile() || found.has(path)) return;
    budget.files -= 1;
    if (budget.files < 0)
      throw new BuildError("user", `A folder that a module reads has more than ${MAX_FOLDER_FILES} files`);
    total += info.size;
    if (total > maxBytes)
      throw new BuildError("user", `The files that modules read have more than ${maxBytes} bytes`);
    found.set(path, { path: `${FILES_FOLDER}/${path}`, bytes: await readFile(join(root, path)) });
  };
  for (const path of paths) await add(path, { files: MAX_FOLDER_FILES });
  return [...found.values()];
}
