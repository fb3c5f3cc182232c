import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { build } from "esbuild";
import { z } from "zod";
import { ROOT } from "./image-table.ts";
import { keepPlaces, PLACES } from "./keep-places.ts";

export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  /** Its folder, absolute. */
  readonly folder: string;
}

export interface BundleOptions {
  /** Modules to start from, relative to the repository, with extension. Each becomes a file of its own at the same place below `target`. */
  readonly entries: readonly string[];
  readonly target: string;
  /** Packages that stay imports. */
  readonly external?: readonly string[];
  readonly platform: "node" | "deno";
}

/** Packages that are CommonJS call `require`, which modules do not have. */
const REQUIRE =
  'import { createRequire as isotopeCreateRequire } from "node:module"; const require = isotopeCreateRequire(import.meta.url);';

/** Bundles programs with all that they import; gives the packages that went in. */
export async function bundleProgram(options: BundleOptions): Promise<NpmPackage[]> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: [...options.entries],
    outdir: options.target,
    outbase: ROOT,
    bundle: true,
    splitting: true,
    chunkNames: "chunks/[name]-[hash]",
    format: "esm",
    platform: options.platform === "node" ? "node" : "neutral",
    // Some packages offer UMD as well, whose `require` no bundler sees.
    mainFields: ["module", "main"],
    target: options.platform === "node" ? "node26" : "esnext",
    external: [...(options.external ?? []), ...(options.platform === "deno" ? ["node:*"] : [])],
    ...(options.platform === "node"
      ? { banner: { js: `${REQUIRE}\n${PLACES}` }, plugins: [keepPlaces()] }
      : {}),
    legalComments: "eof",
    logLevel: "error",
    metafile: true,
  });
  const folders = new Set<string>();
  for (const path of Object.keys(metafile.inputs)) {
    const folder = packageFolder(join(ROOT, path));
    if (folder !== undefined) folders.add(folder);
  }
  return [...folders].map(npmPackage).toSorted(byName);
}

export const byName = (a: NpmPackage, b: NpmPackage): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

/** The package that a file under `node_modules` belongs to. */
function packageFolder(path: string): string | undefined {
  const match = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path);
  return match?.[1];
}

const Manifest = z.looseObject({
  name: z.string(),
  version: z.string(),
  license: z.unknown().optional(),
  dependencies: z.record(z.string(), z.string()).optional(),
});

const readManifest = (folder: string) =>
  Manifest.parse(JSON.parse(readFileSync(join(folder, "package.json"), "utf8")));

export function npmPackage(folder: string): NpmPackage {
  const { name, version, license } = readManifest(folder);
  return { name, version, folder, license: typeof license === "string" ? license : "NOASSERTION" };
}

/** Packages and all that they depend on and that is installed, as folders. */
export function withDependencies(names: readonly string[]): NpmPackage[] {
  const found = new Map<string, NpmPackage>();
  const add = (name: string, from: string): void => {
    const folder = resolveFolder(name, from);
    if (folder === undefined || found.has(folder)) return;
    found.set(folder, npmPackage(folder));
    const manifest = readManifest(folder);
    const optional = z.record(z.string(), z.string()).optional().parse(manifest["optionalDependencies"]);
    for (const dependency of Object.keys({ ...manifest.dependencies, ...optional })) add(dependency, folder);
  };
  for (const name of names) {
    if (resolveFolder(name, ROOT) === undefined)
      throw new Error(`Cannot stage package "${name}": it is not installed; run npm install`);
    add(name, ROOT);
  }
  return [...found.values()].toSorted(byName);
}

function resolveFolder(name: string, from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, "node_modules", name);
    if (existsSync(join(candidate, "package.json"))) return candidate;
    if (folder === dirname(folder) || relative(ROOT, folder).startsWith("..")) return undefined;
  }
}
