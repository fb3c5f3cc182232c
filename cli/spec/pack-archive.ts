import { globSync, readFileSync, statSync } from "node:fs";
import { join, resolve, sep } from "node:path";
import type { z } from "zod";
import { type ZipInput, writeZip } from "../../net/archive/write-zip.ts";
import { CliError } from "../command.ts";
import type { ArchiveUploadSpec } from "./read-specs.ts";

/** The zip of an ArchiveUploadSpec; paths are relative to its rootdir, which is relative to the specs' parent folder. */
export async function packArchive(
  spec: z.infer<typeof ArchiveUploadSpec>,
  projectFolder: string,
): Promise<Uint8Array> {
  const root = resolve(projectFolder, spec.rootdir ?? ".");
  const names = new Set<string>();
  for (const pattern of spec.include) {
    const matches = globSync(pattern, { cwd: root, exclude: spec.exclude ?? [] });
    if (matches.length === 0)
      throw new CliError(`Cannot pack archive "${spec.name}": nothing matches "${pattern}" in "${root}"`);
    for (const match of matches) {
      if (statSync(join(root, match)).isDirectory())
        for (const inner of globSync("**/*", { cwd: join(root, match) })) names.add(join(match, inner));
      else names.add(match);
    }
  }
  const files: ZipInput[] = [];
  for (const name of names) {
    if (name.startsWith(".."))
      throw new CliError(`Cannot pack archive "${spec.name}": "${name}" lies outside "${root}"`);
    if (statSync(join(root, name)).isFile())
      files.push({ path: name.split(sep).join("/"), bytes: readFileSync(join(root, name)) });
  }
  return writeZip(files);
}
