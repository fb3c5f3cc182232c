import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  globSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { COMPONENTS } from "../../api/components.ts";
import { bundleProgram, byName, type NpmPackage, npmPackage, withDependencies } from "./bundle-program.ts";
import { fileDigest } from "./file-tree.ts";
import { type ImageName, ROOT } from "./image-table.ts";
import { hasCommand, runCommand } from "./run-command.ts";

/** What goes into an image, ready to be copied. */
export interface StagedImage {
  readonly context: string;
  readonly containerfile: string;
  readonly npm: readonly NpmPackage[];
}

const MODULES = join(ROOT, "node_modules");
/** Packages that the builder starts as programs or looks up at run time. */
const BUILDER_PACKAGES = ["esbuild", "typescript", "@types/node", "xstate"];
const NPM_FOLDER = join(ROOT, "env-images", "builder", "npm");
/** Parts of packages that no running program reads. */
const UNREAD =
  /(?:^|\/)(?:docs?|man|test|tests|__tests__|example|examples|\.github|benchmarks?)(?:\/|$)|\.(?:map|md|markdown|d\.cts)$|(?:^|\/)tap-snapshots(?:\/|$)/i;

const FOLDERS: Readonly<Record<ImageName, string>> = {
  isotope: "isotope",
  "deno-env": "deno",
  fetcher: "fetcher",
  builder: "builder",
};

/** Puts together what an image's Containerfile copies, in `context`. `cache` keeps programs that were made smaller. */
export async function stageImage(name: ImageName, context: string, cache: string): Promise<StagedImage> {
  rmSync(context, { recursive: true, force: true });
  mkdirSync(context, { recursive: true });
  const npm = await STAGES[name](context, cache);
  writeFileSync(join(context, "app", "package.json"), await manifest(name));
  const licenses = join(context, "app", "third-party-licenses.txt");
  writeFileSync(licenses, licenseTexts(npm));
  return { context, containerfile: join(ROOT, "env-images", FOLDERS[name], "Containerfile"), npm };
}

type Stage = (context: string, cache: string) => Promise<NpmPackage[]>;

const STAGES: Readonly<Record<ImageName, Stage>> = {
  isotope: async (context, cache) => {
    const bundled = await bundleProgram({
      entries: ["env-images/isotope/main.ts", ...COMPONENTS.map(({ entry }) => `${entry}.ts`)],
      target: join(context, "app"),
      // Needed for credential plugins of kubeconfig files only, which no pod has.
      external: ["@kubernetes/client-node", "esbuild"],
      platform: "node",
    });
    stageScripts(join(context, "app"));
    const workflows = await stageWorkflows(context, cache);
    return [...bundled, ...workflows, await stageNode(context, cache)].toSorted(byName);
  },
  "deno-env": async (context, cache) => {
    const bundled = await bundleProgram({
      entries: ["env-images/deno/main.ts"],
      target: join(context, "app"),
      platform: "deno",
    });
    // Deno looks for its cache there and does without when it finds none.
    mkdirSync(join(context, "app", "cache"), { recursive: true });
    return [...bundled, await stageDeno(context, cache)].toSorted(byName);
  },
  fetcher: async (context, cache) => {
    const bundled = await bundleProgram({
      entries: ["env-images/fetcher/main.ts"],
      target: join(context, "app"),
      platform: "node",
    });
    return [...bundled, await stageNode(context, cache)].toSorted(byName);
  },
  builder: async (context, cache) => {
    const bundled = await bundleProgram({
      entries: ["env-images/builder/main.ts", "env-images/builder/worker.ts"],
      target: join(context, "app"),
      external: ["esbuild", "typescript"],
      platform: "node",
    });
    // What workflows are bundled with.
    await bundleProgram({
      entries: ["sdk/workflows.ts"],
      target: join(context, "app"),
      external: ["xstate"],
      platform: "deno",
    });
    const copied = withDependencies(BUILDER_PACKAGES);
    for (const { folder } of copied)
      copyPackage(folder, join(context, "packages", relative(MODULES, folder)));
    const npm = await stageNpm(context, cache);
    return [...bundled, ...copied, ...npm, await stageNode(context, cache)].toSorted(byName);
  },
};

/** Scripts of the store, at their places. */
export function stageScripts(app: string): void {
  for (const path of globSync("{engine,workflows}/**/*.lua", { cwd: ROOT }))
    cpSync(join(ROOT, path), join(app, path), { recursive: true });
}

/** What the workflow service reads beside its code: the definition host with Deno, which runs it, and the bundler. */
async function stageWorkflows(context: string, cache: string): Promise<NpmPackage[]> {
  const target = join(context, "app", "workflows");
  const host = await bundleProgram({
    entries: ["workflows/host/program.ts"],
    target: join(context, "app"),
    platform: "deno",
  });
  copyFileSync(join(target, "host", "program.js"), join(target, "program.js"));
  const copied = withDependencies(["esbuild"]);
  for (const { folder } of copied) copyPackage(folder, join(context, "packages", relative(MODULES, folder)));
  return [...host, ...copied, await stageDeno(context, cache)];
}

/** A package without its documentation, tests and source maps, but with its license. */
function copyPackage(folder: string, target: string): void {
  cpSync(folder, target, {
    recursive: true,
    dereference: true,
    filter: (path) => {
      const inside = relative(folder, path);
      if (inside.startsWith("node_modules")) return false;
      return inside === "" || /licen[cs]e|notice/i.test(basename(inside)) || !UNREAD.test(inside);
    },
  });
}

async function stageNode(context: string, cache: string): Promise<NpmPackage> {
  const folder = join(MODULES, "node");
  await stageProgram(join(folder, "bin", "node"), context, cache);
  return npmPackage(folder);
}

async function stageDeno(context: string, cache: string): Promise<NpmPackage> {
  const folder = join(MODULES, "deno");
  await stageProgram(join(folder, "deno"), context, cache);
  return npmPackage(folder);
}

/** `/usr/local/bin/<name>` of an image: a program without its debugging symbols. */
async function stageProgram(program: string, context: string, cache: string): Promise<void> {
  const target = join(context, "runtime", "usr", "local", "bin", basename(program));
  mkdirSync(dirname(target), { recursive: true });
  if (!existsSync(program)) throw new Error(`Cannot stage "${program}": it is not there; run npm install`);
  const kept = join(cache, `${basename(program)}-${(await fileDigest(program)).slice(0, 16)}`);
  if (!existsSync(kept)) {
    const partial = `${kept}.partial-${process.pid}`;
    mkdirSync(cache, { recursive: true });
    if (await hasCommand("strip")) await runCommand("strip", ["--strip-unneeded", "-o", partial, program]);
    else copyFileSync(program, partial);
    chmodSync(partial, 0o755);
    await runCommand("mv", [partial, kept]);
  }
  // The context may lie on another file system than the cache.
  try {
    linkSync(kept, target);
  } catch {
    copyFileSync(kept, target);
  }
}

/** npm as its lock file says, with the command that starts it. */
async function stageNpm(context: string, cache: string): Promise<NpmPackage[]> {
  const key = (await fileDigest(join(NPM_FOLDER, "package-lock.json"))).slice(0, 16);
  const kept = join(cache, `npm-${key}`);
  if (!existsSync(kept)) {
    const partial = `${kept}.partial-${process.pid}`;
    cpSync(NPM_FOLDER, partial, { recursive: true });
    await runCommand("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-bin-links"], {
      cwd: partial,
    });
    await runCommand("mv", [partial, kept]);
  }
  const installed = join(kept, "node_modules", "npm");
  const target = join(context, "packages", "npm");
  cpSync(installed, target, {
    recursive: true,
    filter: (path) => !UNREAD.test(relative(installed, path)) || /licen[cs]e/i.test(path),
  });
  const command = join(context, "runtime", "usr", "local", "bin", "npm");
  mkdirSync(dirname(command), { recursive: true });
  writeFileSync(command, '#!/bin/sh\nexec /usr/local/bin/node /app/node_modules/npm/bin/npm-cli.js "$@"\n', {
    mode: 0o755,
  });
  return [
    npmPackage(installed),
    ...globSync(["node_modules/*/package.json", "node_modules/@*/*/package.json"], { cwd: installed }).map(
      (path) => npmPackage(join(installed, dirname(path))),
    ),
  ];
}

/** Name and version, which processes report, and that the code is made of modules. */
async function manifest(name: ImageName): Promise<string> {
  const { version } = npmPackage(ROOT);
  return `${JSON.stringify({ name: `@isotope/image-${name}`, version, private: true, type: "module" })}\n`;
}

function licenseTexts(packages: readonly NpmPackage[]): string {
  return packages
    .map(({ name, version, license, folder }) => {
      const files = globSync(["LICEN[CS]E*", "licen[cs]e*", "NOTICE*"], { cwd: folder }).toSorted();
      const text = files.map((file) => readFileSync(join(folder, file), "utf8").trim()).join("\n\n");
      return `${name} ${version} (${license})\n\n${text}\n`;
    })
    .join(`\n${"-".repeat(80)}\n\n`);
}
