import { mkdir, readdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { ArchiveError } from "../../net/archive/archive-error.ts";
import { extractArchive } from "../../net/archive/extract-archive.ts";
import { archiveFormat } from "../../net/archive/archive-format.ts";
import { BuildError } from "./build-error.ts";

const MODULE = /\.(?:[cm]?[jt]s|[jt]sx)$/;

/**
 * Puts the source into `folder`, which must not exist: the files of a zip, tar or tar.gz, or the one module that it is.
 * Returns the folder that holds the project: that of the archive, or its only folder if it holds nothing else and `entry` (a path in
 * the project, or "") does not say otherwise.
 */
export async function unpackSource(
  bytes: Uint8Array,
  filename: string,
  folder: string,
  entry: string,
): Promise<string> {
  const format = archiveFormat(bytes);
  if (format === "file") {
    if (bytes.length === 0) throw new BuildError("user", "The source is empty");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, moduleName(filename)), bytes, { flag: "wx" });
    return folder;
  }
  try {
    await extractArchive(bytes, format, folder);
  } catch (error) {
    if (error instanceof ArchiveError)
      throw new BuildError("user", `The source archive is refused: ${error.message}`, { cause: error });
    throw error;
  }
  const entries = await readdir(folder, { withFileTypes: true });
  const [only] = entries;
  if (entry.startsWith(`${only?.name}/`)) return folder;
  return entries.length === 1 && only?.isDirectory() && only.name !== "node_modules"
    ? join(folder, only.name)
    : folder;
}

/** A name for a source that is one module; what it is called when uploaded without a usable name. */
function moduleName(filename: string): string {
  const name = basename(filename.replaceAll("\\", "/"));
  // A file without a known extension is taken as TypeScript, of which JavaScript is a part.
  return /^[\w.@+-]{1,120}$/.test(name) && MODULE.test(name) ? name : "index.ts";
}
