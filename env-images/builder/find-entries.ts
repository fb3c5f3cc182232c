import { stat } from "node:fs/promises";
import { join, posix } from "node:path";
import { BuildError } from "./build-error.ts";
import type { Project } from "./project.ts";

const EXTENSIONS = ["ts", "tsx", "mts", "js", "jsx", "mjs", "cjs", "cts"];
const STEMS = ["index", "main", "mod"];
const MODULE = /\.(?:[cm]?[jt]s|[jt]sx)$/;
const NOT_AN_ENTRY = /(?:\.d\.[cm]?ts|\.(?:test|spec|config)\.[cm]?[jt]sx?)$/;

/** `name` is the file's name in the artifact without `.js`. */
export interface Entry {
  readonly name: string;
  /** Relative to the project, with `/`. */
  readonly file: string;
}

/**
 * The modules to build. One (`index`) where the project says or suggests which; else every module at the top under its own name,
 * so that functions can name them (`functionName: "users.get"`), as in the reference system.
 */
export async function findEntries(project: Project, wanted: string): Promise<Entry[]> {
  if (wanted !== "") {
    const file = await moduleAt(project.root, wanted);
    if (file !== undefined) return [{ name: "index", file }];
    throw new BuildError("user", `Cannot find the entry file "${wanted}" in the source`);
  }
  const named = [
    ...packageEntries(project).map((file) => ({ file, where: "package.json" })),
    ...denoEntries(project).map((file) => ({ file, where: project.denoConfigName ?? "deno.json" })),
  ];
  for (const { file } of named) {
    const found = await moduleAt(project.root, file);
    if (found !== undefined) return [{ name: "index", file: found }];
  }
  const modules = project.top.filter((name) => MODULE.test(name) && !NOT_AN_ENTRY.test(name));
  for (const stem of STEMS) {
    const file = EXTENSIONS.map((extension) => `${stem}.${extension}`).find((name) => modules.includes(name));
    if (file !== undefined) return [{ name: "index", file }];
  }
  const [first] = modules;
  if (first !== undefined && modules.length === 1) return [{ name: "index", file: first }];
  if (modules.length > 1) return byOwnName(modules);
  const [missing] = named;
  if (missing)
    throw new BuildError("user", `Cannot find "${missing.file}", which ${missing.where} names as the entry`);
  throw new BuildError(
    "user",
    `Cannot find an entry file: the source has neither ${STEMS.map((stem) => `${stem}.ts`).join(" nor ")} nor another module at its top`,
  );
}

function byOwnName(modules: readonly string[]): Entry[] {
  const entries = new Map<string, Entry>();
  for (const file of modules) {
    const name = file.replace(MODULE, "");
    const other = entries.get(name);
    if (other)
      throw new BuildError(
        "user",
        `"${other.file}" and "${file}" would both become "${name}.js"; rename one`,
      );
    entries.set(name, { name, file });
  }
  return [...entries.values()];
}

function packageEntries({ packageJson }: Project): string[] {
  if (!packageJson) return [];
  return [exportTarget(packageJson.exports), packageJson.module, packageJson.main].filter(
    (file) => file !== undefined,
  );
}

function denoEntries({ denoConfig }: Project): string[] {
  const exported = denoConfig?.exports;
  const file = typeof exported === "string" ? exported : exported?.["."];
  return file === undefined ? [] : [file];
}

/** The file that `exports` gives for the package itself, by the conditions that hold in a pod. */
function exportTarget(target: unknown): string | undefined {
  if (typeof target === "string") return target;
  if (Array.isArray(target)) return target.map(exportTarget).find((file) => file !== undefined);
  if (typeof target !== "object" || target === null) return undefined;
  for (const [key, value] of Object.entries(target)) {
    if ([".", "deno", "node", "import", "module", "require", "default"].includes(key)) {
      const file = exportTarget(value);
      if (file !== undefined) return file;
    }
  }
  return undefined;
}

/** The file for a path that may lack its extension or name a folder. */
async function moduleAt(root: string, wanted: string): Promise<string | undefined> {
  const path = posix.normalize(wanted);
  if (path.startsWith("..") || posix.isAbsolute(path)) {
    throw new BuildError("user", `The entry file must be inside the source, got "${wanted}"`);
  }
  const candidates = [path, ...EXTENSIONS.map((extension) => `${path}.${extension}`)];
  candidates.push(...EXTENSIONS.map((extension) => posix.join(path, `index.${extension}`)));
  for (const candidate of candidates) {
    const info = await stat(join(root, candidate)).catch(() => undefined);
    if (info?.isFile()) return candidate;
  }
  return undefined;
}
