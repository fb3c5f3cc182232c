import { readFile } from "node:fs/promises";
import { join, posix } from "node:path";
import { z } from "zod";
import { BuildError, errno } from "./build-error.ts";
import { type Project, parseAs } from "./project.ts";

const Strings = z.record(z.string(), z.string());
const ImportMapFile = z.looseObject({
  imports: Strings.optional(),
  scopes: z.record(z.string(), Strings).optional(),
});

/** One folder's part of an import map; `base` is the folder that relative addresses start from, relative to the project. */
interface Scope {
  /** Folder whose modules it holds for, relative to the project, ending in `/`; "" = all. */
  readonly prefix: string;
  readonly base: string;
  readonly imports: Readonly<Record<string, string>>;
}

export interface ImportMap {
  /** All keys, for filters. */
  readonly keys: readonly string[];
  /** All addresses, in the order of the file. */
  readonly addresses: readonly string[];
  /** The address for a specifier in a module (path relative to the project); relative addresses come back relative to the project, starting with `./`. */
  resolve(specifier: string, importer: string): string | undefined;
}

/** The import map of `deno.json` (`imports`, `scopes`) or of the file that its `importMap` names. */
export async function readImportMap(project: Project): Promise<ImportMap> {
  const config = project.denoConfig;
  if (!config) return importMapOf([]);
  const base = "";
  if (config.importMap !== undefined && !config.imports && !config.scopes) {
    return await readMapFile(project, config.importMap);
  }
  return importMapOf(scopesOf(base, config.imports, config.scopes));
}

async function readMapFile(project: Project, name: string): Promise<ImportMap> {
  const path = posix.normalize(name);
  if (path.startsWith("..") || posix.isAbsolute(path) || path.includes(":")) {
    throw new BuildError(
      "user",
      `${project.denoConfigName}: "importMap" must name a file inside the source, got "${name}"`,
    );
  }
  let text: string;
  try {
    text = await readFile(join(project.root, path), "utf8");
  } catch (cause) {
    if (errno(cause) !== "ENOENT") throw cause;
    throw new BuildError("user", `${project.denoConfigName}: the import map "${name}" does not exist`, {
      cause,
    });
  }
  const file = parseAs(ImportMapFile, path, text, true);
  const folder = posix.dirname(path);
  return importMapOf(scopesOf(folder === "." ? "" : `${folder}/`, file.imports, file.scopes));
}

function scopesOf(
  base: string,
  imports: Readonly<Record<string, string>> | undefined,
  scopes: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined,
): Scope[] {
  const inner = Object.entries(scopes ?? {}).map(([prefix, mapped]) => ({
    prefix: posix.join(base, prefix).replace(/^\.\//, ""),
    base,
    imports: mapped,
  }));
  // Longest prefix first, as import maps resolve.
  inner.sort((a, b) => b.prefix.length - a.prefix.length);
  return imports ? [...inner, { prefix: "", base, imports }] : inner;
}

function importMapOf(scopes: readonly Scope[]): ImportMap {
  return {
    keys: [...new Set(scopes.flatMap((scope) => Object.keys(scope.imports)))],
    addresses: scopes.flatMap((scope) => Object.values(scope.imports)),
    resolve: (specifier, importer) => {
      for (const scope of scopes) {
        if (!importer.startsWith(scope.prefix)) continue;
        const address = lookUp(scope, specifier);
        if (address !== undefined) return address;
      }
      return undefined;
    },
  };
}

function lookUp(scope: Scope, specifier: string): string | undefined {
  const exact = scope.imports[specifier];
  if (exact !== undefined) return relativeTo(scope.base, exact);
  const folders = Object.keys(scope.imports).filter((key) => key.endsWith("/") && specifier.startsWith(key));
  folders.sort((a, b) => b.length - a.length);
  const [key] = folders;
  if (key !== undefined) return relativeTo(scope.base, `${scope.imports[key]}${specifier.slice(key.length)}`);
  // Deno expands `"zod": "npm:zod@4"` to the package's subpaths without a second entry.
  for (const [name, address] of Object.entries(scope.imports)) {
    if (/^(?:npm|jsr):/.test(address) && specifier.startsWith(`${name}/`)) {
      return `${address}${specifier.slice(name.length)}`;
    }
  }
  return undefined;
}

function relativeTo(base: string, address: string): string {
  if (!address.startsWith("./") && !address.startsWith("../")) return address;
  return `./${posix.join(base, address)}${address.endsWith("/") && !posix.join(base, address).endsWith("/") ? "/" : ""}`;
}
