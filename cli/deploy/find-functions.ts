import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { CliError } from "../command.ts";

/** A function or a workflow as the folder conventions name it. */
export interface FoundFunction {
  kind: "function" | "workflow";
  name: string;
  /** Entry file, absolute. */
  entry: string;
  /** Its own folder when it is `<name>/index.ts`: everything in it belongs to the function. */
  folder: string | undefined;
}

export interface Project {
  /** Folder that holds package.json or deno.json, or the functions folder's parent; paths in archives are relative to it. */
  root: string;
  name: string;
  functions: FoundFunction[];
  workflows: FoundFunction[];
}

/** All that a project is made of. */
export const sourcesOf = ({ functions, workflows }: Project): FoundFunction[] => [...functions, ...workflows];

const EXTENSIONS = [".ts", ".tsx", ".mts", ".js", ".jsx", ".mjs", ".cjs", ".cts"];
const MANIFESTS = ["package.json", "deno.json", "deno.jsonc"];
const SKIPPED = /(\.d\.[cm]?ts|\.(test|spec)\.[^.]+)$/;
const NAME = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const MAX_NAME = 63;

/** A resource name from a file's name: `sendMail.ts` → `send-mail`. */
export function nameFrom(stem: string, entry: string): string {
  const name = stem
    .replace(/([a-z0-9])([A-Z])/g, "$1-$2")
    .replace(/[_.\s]+/g, "-")
    .toLowerCase();
  if (!NAME.test(name) || name.length > MAX_NAME) {
    throw new CliError(
      `Cannot name a function after "${entry}": allowed are up to ${MAX_NAME} lower-case letters, digits and -, starting with a letter, got "${name}"; rename the file`,
    );
  }
  return name;
}

const indexFile = (folder: string): string | undefined =>
  EXTENSIONS.map((extension) => join(folder, `index${extension}`)).find((path) => existsSync(path));

function sourcesIn(folder: string, kind: FoundFunction["kind"]): FoundFunction[] {
  const found: FoundFunction[] = [];
  for (const item of readdirSync(folder, { withFileTypes: true }).toSorted((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    // `_shared` and the like hold what functions import.
    if (item.name.startsWith("_") || item.name.startsWith(".") || item.name === "node_modules") continue;
    const path = join(folder, item.name);
    if (item.isDirectory()) {
      const entry = indexFile(path);
      if (entry) found.push({ kind, name: nameFrom(item.name, path), entry, folder: path });
      continue;
    }
    const extension = EXTENSIONS.find((candidate) => item.name.endsWith(candidate));
    if (extension && !SKIPPED.test(item.name))
      found.push({
        kind,
        name: nameFrom(item.name.slice(0, -extension.length), path),
        entry: path,
        folder: undefined,
      });
  }
  return found;
}

/** The nearest folder from `start` up to `limit` that has a manifest. */
function manifestFolder(start: string): string | undefined {
  for (let folder = start; ; folder = dirname(folder)) {
    if (MANIFESTS.some((name) => existsSync(join(folder, name)))) return folder;
    if (existsSync(join(folder, ".git")) || dirname(folder) === folder) return undefined;
  }
}

/**
 * The functions under a folder: `functions/<name>.ts`, `functions/<name>/index.ts`; or the same directly in it when it has no
 * `functions` folder; or one file. Workflows likewise: `workflows/<name>.ts`, `workflows/<name>/index.ts`.
 * @throws {CliError} when there is none.
 */
export function findProject(target: string): Project {
  const path = resolve(target);
  if (!existsSync(path)) throw new CliError(`Cannot deploy "${target}": no such file or folder`);
  if (statSync(path).isFile()) {
    const extension = EXTENSIONS.find((candidate) => path.endsWith(candidate));
    if (!extension)
      throw new CliError(`Cannot deploy "${target}": allowed are ${EXTENSIONS.join(", ")} files and folders`);
    const isIndex = basename(path, extension) === "index";
    const name = nameFrom(isIndex ? basename(dirname(path)) : basename(path, extension), path);
    const root = manifestFolder(dirname(path)) ?? dirname(path);
    const folder = isIndex ? dirname(path) : undefined;
    const kind = basename(dirname(folder ?? path)) === "workflows" ? "workflow" : "function";
    const found: FoundFunction = { kind, name, entry: path, folder };
    return {
      root,
      name: projectName(root),
      functions: kind === "function" ? [found] : [],
      workflows: kind === "workflow" ? [found] : [],
    };
  }
  const [inner, workflowsFolder] = [join(path, "functions"), join(path, "workflows")];
  const workflows = existsSync(workflowsFolder) ? sourcesIn(workflowsFolder, "workflow") : [];
  const hasFolders = existsSync(inner) || existsSync(workflowsFolder);
  const functions = existsSync(inner) || !hasFolders ? sourcesIn(hasFolders ? inner : path, "function") : [];
  if (functions.length + workflows.length === 0) {
    throw new CliError(
      `Cannot deploy "${target}": it holds no functions/<name>.ts and no functions/<name>/index.ts; \`isotope init\` writes an example`,
    );
  }
  refuseTwice(target, path, functions);
  refuseTwice(target, path, workflows);
  const root = hasFolders ? path : (manifestFolder(path) ?? path);
  return { root, name: projectName(root), functions, workflows };
}

function refuseTwice(target: string, path: string, found: readonly FoundFunction[]): void {
  const seen = new Map<string, string>();
  for (const { kind, name, entry } of found) {
    const other = seen.get(name);
    if (other)
      throw new CliError(
        `Cannot deploy "${target}": "${relative(path, other)}" and "${relative(path, entry)}" would both be ${kind} "${name}"`,
      );
    seen.set(name, entry);
  }
}

/** A label value that tells this project's resources from others'. */
function projectName(root: string): string {
  const cleaned = basename(root)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, MAX_NAME);
  return cleaned || "project";
}
