import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** An installed package that works through machine code, which a pod without FFI and subprocesses cannot load. */
export interface NativePackage {
  readonly name: string;
  /** What shows that it is native, for the message. */
  readonly sign: string;
}

const LOADERS = [
  "node-gyp-build",
  "bindings",
  "prebuild-install",
  "node-pre-gyp",
  "@mapbox/node-pre-gyp",
  "node-addon-api",
  "pkg-prebuilds",
];
const PLATFORM_PACKAGE = /[-/.](?:linux|darwin|win32|freebsd)[-_.](?:x64|arm64|ia32|arm)/;

/** Looks through a `node_modules` folder, nested ones included. */
export async function findNativePackages(nodeModules: string): Promise<NativePackage[]> {
  const found = new Map<string, string>();
  await visitFolder(nodeModules, found);
  return [...found].map(([name, sign]) => ({ name, sign })).sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function visitFolder(nodeModules: string, found: Map<string, string>): Promise<void> {
  for (const name of await packageNames(nodeModules)) {
    const folder = join(nodeModules, name);
    const sign = await signOf(folder);
    if (sign !== undefined) found.set(name, sign);
    await visitFolder(join(folder, "node_modules"), found);
  }
}

async function packageNames(nodeModules: string): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await readdir(nodeModules, { withFileTypes: true }).catch(() => [])) {
    if (!entry.isDirectory() || entry.name.startsWith(".")) continue;
    if (!entry.name.startsWith("@")) names.push(entry.name);
    else
      for (const scoped of await readdir(join(nodeModules, entry.name)))
        names.push(`${entry.name}/${scoped}`);
  }
  return names;
}

async function signOf(folder: string): Promise<string | undefined> {
  const files: string[] = await readdir(folder).catch(() => []);
  const addon = files.find((file) => file.endsWith(".node"));
  if (addon !== undefined) return addon;
  if (files.includes("binding.gyp")) return "binding.gyp";
  if (files.includes("prebuilds")) return "prebuilds/";
  const text = await readFile(join(folder, "package.json"), "utf8").catch(() => "{}");
  let manifest: unknown;
  try {
    manifest = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof manifest !== "object" || manifest === null) return undefined;
  if ("gypfile" in manifest && manifest.gypfile === true) return "gypfile";
  if ("napi" in manifest && typeof manifest.napi === "object") return "napi";
  const loader = keysOf(manifest, "dependencies").find((name) => LOADERS.includes(name));
  if (loader !== undefined) return `dependency ${loader}`;
  return keysOf(manifest, "optionalDependencies").find((name) => PLATFORM_PACKAGE.test(name));
}

function keysOf(manifest: object, field: string): string[] {
  const value: unknown = Object.getOwnPropertyDescriptor(manifest, field)?.value;
  return typeof value === "object" && value !== null ? Object.keys(value) : [];
}
