import { lstat, readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import type { ZipInput } from "../../net/archive/write-zip.ts";

/** What a build left cannot become a package. */
export class BadArtifact extends Error {
  override readonly name = "BadArtifact";
}

export interface ArtifactLimits {
  readonly maxFiles: number;
  readonly maxBytes: number;
}

/**
 * The files of an artifact, a folder or one file, with paths relative to it. Links to files inside it are followed; others are refused,
 * since what they show belongs to the builder or to nobody. Throws BadArtifact.
 */
export async function collectArtifact(artifact: string, limits: ArtifactLimits): Promise<ZipInput[]> {
  const root = await realpath(artifact);
  const files: ZipInput[] = [];
  let sizeBytes = 0;
  const add = async (file: string, path: string): Promise<void> => {
    const { size, mode } = await stat(file);
    sizeBytes += size;
    if (files.length >= limits.maxFiles)
      throw new BadArtifact(`The artifact has more than ${limits.maxFiles} files`);
    if (sizeBytes > limits.maxBytes)
      throw new BadArtifact(`The artifact has more than ${limits.maxBytes} bytes`);
    files.push({ path, bytes: await readFile(file), executable: (mode & 0o100) !== 0 });
  };
  const walk = async (folder: string): Promise<void> => {
    for (const entry of (await readdir(folder, { withFileTypes: true })).toSorted(byName)) {
      const file = join(folder, entry.name);
      const path = relative(root, file);
      if (entry.isDirectory()) await walk(file);
      else if (entry.isFile()) await add(file, path);
      else if (entry.isSymbolicLink()) await add(await linkTarget(root, file, path), path);
      else throw new BadArtifact(`The artifact's "${path}" is no file, folder or link`);
    }
  };
  if ((await lstat(root)).isDirectory()) await walk(root);
  else await add(root, basename(artifact));
  if (files.length === 0) throw new BadArtifact("The build left no file");
  return files;
}

async function linkTarget(root: string, file: string, path: string): Promise<string> {
  const target = await realpath(file).catch(() => {
    throw new BadArtifact(`The artifact's link "${path}" leads nowhere`);
  });
  if (!target.startsWith(`${root}${sep}`) || !(await stat(target)).isFile())
    throw new BadArtifact(`The artifact's link "${path}" must lead to a file inside the artifact`);
  return target;
}

const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
