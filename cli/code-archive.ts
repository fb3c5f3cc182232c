import { createHash } from "node:crypto";
import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { basename, join, relative, resolve, sep } from "node:path";
import { request } from "undici";
import { archiveUrl } from "../api/archive-url.ts";
import { type Archive, LITERAL_MAX_BYTES } from "../api/kinds/index.ts";
import { writeZip } from "../net/archive/write-zip.ts";
import { CliError, type Flags, type FlagValues, UsageError } from "./command.ts";
import type { CliContext } from "./context.ts";
import { uploadArchive } from "./deploy/upload.ts";

/** Where a package's content comes from, in the reference system's words. */
export const CODE_FLAGS = {
  code: { type: "string", help: "One source file, or its URL" },
  sourcearchive: {
    type: "strings",
    aliases: ["source", "src"],
    help: "Source to build: archive, folder, file, glob or URL",
  },
  deployarchive: {
    type: "strings",
    aliases: ["deploy"],
    help: "What pods load, built already: archive, folder, file, glob or URL",
  },
  srcchecksum: { type: "string", help: "sha256 of a source URL" },
  deploychecksum: { type: "string", help: "sha256 of a deployment URL" },
  insecure: { type: "boolean", help: "Accept a URL without a checksum" },
  oci: { type: "string", help: "OCI image that holds the deployment archive" },
  buildcmd: { type: "string", help: "Build command" },
} as const satisfies Flags;

const isUrl = (text: string): boolean => /^https?:\/\//.test(text);
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const ARCHIVE = /\.(zip|tar\.gz|tgz|jar|war)$/i;
const LEFT_OUT = /(^|\/)(node_modules|\.git|\.isotope)(\/|$)/;

function filesOf(cwd: string, patterns: readonly string[]): { path: string; bytes: Uint8Array }[] {
  const files = new Map<string, string>();
  for (const pattern of patterns) {
    const path = resolve(cwd, pattern);
    const isFolder = existsSync(path) && statSync(path).isDirectory();
    const base = isFolder ? path : cwd;
    const matches = isFolder
      ? globSync("**/*", { cwd: path }).map((name) => join(path, name))
      : existsSync(path)
        ? [path]
        : globSync(pattern, { cwd }).map((name) => resolve(cwd, name));
    const found = matches.filter(
      (match) => !LEFT_OUT.test(relative(base, match).split(sep).join("/")) && statSync(match).isFile(),
    );
    if (found.length === 0) throw new CliError(`Cannot read "${pattern}": no such file, folder or match`);
    for (const match of found)
      files.set(
        isFolder
          ? relative(base, match).split(sep).join("/")
          : relative(cwd, match).startsWith("..")
            ? basename(match)
            : relative(cwd, match).split(sep).join("/"),
        match,
      );
  }
  return [...files].map(([path, file]) => ({ path, bytes: readFileSync(file) }));
}

async function download(url: string, checksum: string | undefined, insecure: boolean): Promise<Uint8Array> {
  const reply = await request(url, { maxRedirections: 0 } as never);
  if (reply.statusCode !== 200) throw new CliError(`Cannot fetch "${url}": it answered ${reply.statusCode}`);
  const bytes = new Uint8Array(await reply.body.arrayBuffer());
  const sum = sha256(bytes);
  if (!checksum && !insecure)
    throw new UsageError(`A URL needs a checksum: its content has sha256 ${sum} now; give it, or --insecure`);
  if (checksum && checksum.toLowerCase() !== sum)
    throw new CliError(`Cannot use "${url}": its sha256 is ${sum}, expected ${checksum}`);
  return bytes;
}

/** One file or archive as it is; several files and folders as a zip. */
async function bytesOf(
  context: CliContext,
  inputs: readonly string[],
  checksum: string | undefined,
  insecure: boolean,
): Promise<Uint8Array> {
  const [only] = inputs;
  if (inputs.length === 1 && only !== undefined) {
    if (isUrl(only)) return download(only, checksum, insecure);
    const path = resolve(context.cwd, only);
    if (existsSync(path) && statSync(path).isFile()) return readFileSync(path);
  }
  const mixed = inputs.find((input) => ARCHIVE.test(input) || isUrl(input));
  if (mixed)
    throw new UsageError(
      `"${mixed}" cannot be combined with other files: give one archive, or files and folders`,
    );
  return writeZip(filesOf(context.cwd, inputs));
}

/** Small archives go into the Package itself, larger ones into storage. */
async function archiveOf(context: CliContext, bytes: Uint8Array): Promise<Archive> {
  const checksum = { type: "sha256", sum: sha256(bytes) };
  if (bytes.byteLength === 0) throw new CliError("Cannot use an empty file as an archive");
  if (bytes.byteLength <= LITERAL_MAX_BYTES)
    return { type: "literal", literal: Buffer.from(bytes).toString("base64"), checksum };
  return { type: "url", url: archiveUrl(await uploadArchive(await context.ops(), bytes)), checksum };
}

export interface CodeArchives {
  source?: Archive;
  deployment?: Archive;
}

/**
 * The archives that the flags name. `--code` is built when the environment has a builder, else deployed as it is.
 * @throws {UsageError} when the flags exclude each other.
 */
export async function codeArchives(
  context: CliContext,
  flags: FlagValues<typeof CODE_FLAGS>,
  hasBuilder: boolean,
): Promise<CodeArchives> {
  const given = [
    flags.code ? "--code" : "",
    flags.deployarchive.length > 0 ? "--deployarchive" : "",
    flags.oci ? "--oci" : "",
  ].filter(Boolean);
  if (given.length > 1 || (flags.code && flags.sourcearchive.length > 0))
    throw new UsageError(
      `${[...given, ...(flags.sourcearchive.length > 0 ? ["--sourcearchive"] : [])].join(" and ")} exclude each other`,
    );
  if (flags.oci) return { deployment: { type: "oci", oci: { image: flags.oci } } };
  const archives: CodeArchives = {};
  if (flags.code) {
    const archive = await archiveOf(
      context,
      await bytesOf(context, [flags.code], flags.deploychecksum ?? flags.srcchecksum, flags.insecure),
    );
    if (hasBuilder) archives.source = archive;
    else archives.deployment = archive;
  }
  if (flags.sourcearchive.length > 0)
    archives.source = await archiveOf(
      context,
      await bytesOf(context, flags.sourcearchive, flags.srcchecksum, flags.insecure),
    );
  if (flags.deployarchive.length > 0)
    archives.deployment = await archiveOf(
      context,
      await bytesOf(context, flags.deployarchive, flags.deploychecksum, flags.insecure),
    );
  return archives;
}

const MODULE = ["ts", "tsx", "mts", "js", "mjs", "cjs", "jsx"];

/**
 * What an entry point means for a source folder: the file that the build begins with, and the export that is left to name.
 * `server.handle` of a folder with server.ts is the file server.ts and its export handle.
 */
export function entryOfFolder(
  cwd: string,
  sources: readonly string[],
  entrypoint: string,
): { file: string | undefined; functionName: string } {
  const [only] = sources;
  const folder = resolve(cwd, only ?? ".");
  if (sources.length !== 1 || !existsSync(folder) || !statSync(folder).isDirectory())
    return { file: undefined, functionName: entrypoint };
  const dot = entrypoint.lastIndexOf(".");
  const stems = dot > 0 ? [entrypoint, entrypoint.slice(0, dot)] : [entrypoint];
  for (const stem of stems) {
    const names = stem === "" ? [] : [stem, ...MODULE.map((extension) => `${stem}.${extension}`)];
    const file = names.find(
      (name) => existsSync(join(folder, name)) && statSync(join(folder, name)).isFile(),
    );
    if (file) return { file, functionName: entrypoint.slice(stem.length) };
  }
  return { file: undefined, functionName: entrypoint };
}
