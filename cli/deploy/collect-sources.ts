import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { z } from "zod";
import type { ZipInput } from "../../net/archive/write-zip.ts";
import { CliError } from "../command.ts";
import type { FoundFunction, Project } from "./find-functions.ts";
import { parseModule } from "./read-config.ts";

/** Files of the project that steer a build, wherever the function lies. */
const SETTINGS = ["deno.json", "deno.jsonc", "tsconfig.json"];
/** Files that say which packages there are: of no interest to a function that imports none, which then need not wait for them. */
const PACKAGE_LISTS = ["package.json", "package-lock.json", "npm-shrinkwrap.json", "deno.lock", ".npmrc"];
const CODE = /\.[cm]?[jt]sx?$/;
const ATTEMPTS = [
  "",
  ".ts",
  ".tsx",
  ".mts",
  ".js",
  ".jsx",
  ".mjs",
  ".cjs",
  ".json",
  "/index.ts",
  "/index.tsx",
  "/index.js",
  "/index.mjs",
];
const LEFT_OUT = new Set(["node_modules", ".git", ".isotope", "dist", ".DS_Store"]);
const MAX_FILES = 5000;
/** What the runtime, or the builder, brings. */
const BUILT_IN = /^(?:node:|@isotope\/platform(?:\/|$))/;

export interface Sources<Config> {
  files: ZipInput[];
  /** Entry file, relative to the project's root, with `/`. */
  entry: string;
  config: Config;
  /** Every file that, when it changes, changes the function. Absolute. */
  watched: string[];
}

/** TypeScript lets `./x.js` mean `./x.ts`. */
const spellings = (path: string): string[] => {
  const swapped = path.replace(/\.([cm]?)js(x?)$/, ".$1ts$2");
  return [...ATTEMPTS.map((suffix) => path + suffix), ...(swapped === path ? [] : [swapped])];
};

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile();

interface ImportMap {
  folder: string;
  imports: Record<string, string>;
}

/** Local targets of deno.json's import map. */
function importMap(root: string): ImportMap {
  for (const name of ["deno.json", "deno.jsonc"]) {
    const path = join(root, name);
    if (!isFile(path)) continue;
    const imports: Record<string, string> = {};
    // Only quoted pairs are of interest here; the builder reads the file properly and reports what is wrong with it.
    for (const [, key, target] of readFileSync(path, "utf8").matchAll(
      /"([^"\n]+)"\s*:\s*"(\.{1,2}\/[^"\n]*)"/g,
    ))
      if (key && target) imports[key] = target;
    return { folder: root, imports };
  }
  return { folder: root, imports: {} };
}

function localTarget(specifier: string, from: string, map: ImportMap): string | undefined {
  if (specifier.startsWith("./") || specifier.startsWith("../") || specifier === "." || specifier === "..")
    return resolve(dirname(from), specifier);
  for (const [key, target] of Object.entries(map.imports)) {
    if (specifier === key) return resolve(map.folder, target);
    if (key.endsWith("/") && specifier.startsWith(key))
      return resolve(map.folder, target, specifier.slice(key.length));
  }
  return undefined;
}

function* filesUnder(folder: string): Generator<string> {
  for (const item of readdirSync(folder, { withFileTypes: true })) {
    if (LEFT_OUT.has(item.name)) continue;
    const path = join(folder, item.name);
    if (item.isDirectory()) yield* filesUnder(path);
    else if (item.isFile()) yield path;
  }
}

/**
 * Everything that the function's build needs: the entry, what it imports from the project, its own folder, the manifests.
 * @throws {CliError} for an import that leads nowhere or out of the project.
 */
export function collectSources<Config>(
  project: Pick<Project, "root">,
  found: FoundFunction,
  schema: z.ZodType<Config>,
): Sources<Config> {
  const root = realpathSync(project.root);
  const map = importMap(root);
  const contents = new Map<string, Buffer>();
  let config = schema.parse({});
  let usesPackages = false;
  const entry = realpathSync(found.entry);
  const queue: { path: string; from: string }[] = [{ path: entry, from: entry }];
  const add = (path: string, from: string): void => {
    if (!path.startsWith(root + sep)) {
      throw new CliError(
        `Cannot deploy "${found.name}": "${relative(root, from)}" imports "${relative(root, path)}", which lies outside "${root}"; move it inside, or put package.json in a folder above both`,
      );
    }
    if (contents.has(path)) return;
    if (contents.size >= MAX_FILES)
      throw new CliError(`Cannot deploy "${found.name}": it needs more than ${MAX_FILES} files`);
    contents.set(path, readFileSync(path));
    if (CODE.test(path)) queue.push({ path, from });
  };
  add(entry, entry);
  queue.shift();
  for (let next = queue.shift(); next; next = queue.shift()) {
    const { path } = next;
    const [file, code] = [relative(process.cwd(), path), contents.get(path)?.toString("utf8") ?? ""];
    if (path === entry) config = parseModule(file, code, schema).config;
    const module = parseModule(file, code, z.unknown());
    for (const specifier of module.imports) {
      const target = localTarget(specifier, path, map);
      if (target === undefined) {
        usesPackages ||= !BUILT_IN.test(specifier);
        continue;
      }
      const file = spellings(target).find(isFile);
      if (!file)
        throw new CliError(
          `Cannot deploy "${found.name}": "${relative(root, path)}" imports "${specifier}", which does not exist`,
        );
      add(realpathSync(file), path);
    }
    for (const asset of module.assets) {
      const target = resolve(dirname(path), asset);
      if (isFile(target)) add(realpathSync(target), path);
    }
  }
  if (found.folder && found.folder !== root)
    for (const path of filesUnder(realpathSync(found.folder))) add(path, path);
  const manifests = usesPackages ? [...SETTINGS, ...PACKAGE_LISTS] : SETTINGS;
  for (const folder of new Set([root, dirname(entry)])) {
    for (const name of manifests)
      if (isFile(join(folder, name))) add(realpathSync(join(folder, name)), entry);
  }
  const inArchive = (path: string): string => relative(root, path).split(sep).join("/");
  return {
    files: [...contents].map(([path, bytes]) => ({ path: inArchive(path), bytes })),
    entry: inArchive(entry),
    config,
    watched: [...contents.keys()],
  };
}
