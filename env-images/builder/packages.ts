import { symlink } from "node:fs/promises";
import { join } from "node:path";
import type { Plugin } from "esbuild";
import type { BuildContext } from "./build.ts";
import { BuildError } from "./build-error.ts";
import { collectImports } from "./collect-imports.ts";
import type { Entry } from "./find-entries.ts";
import type { ImportMap } from "./import-map.ts";
import { installPackages } from "./install-packages.ts";
import { pinnedVersions } from "./lock-pins.ts";
import { findNativePackages, type NativePackage } from "./native-packages.ts";
import { checkPackageLock, keyOf, npmManifest, withoutOwnPackage } from "./npm-manifest.ts";
import { type NpmSpecifier, parseNpmSpecifier } from "./npm-specifier.ts";
import type { Project } from "./project.ts";
import { type ModuleScan, scanModules } from "./scan-modules.ts";

export interface Packages {
  /** The bare specifier under which an `npm:` import's package is installed. */
  readonly packageFor: (specifier: NpmSpecifier) => string;
  readonly missingPackageAdvice: (name: string) => string;
  readonly native: readonly NativePackage[];
  /** Modules of packages that may refer to files, relative to the project. */
  readonly referring: readonly string[];
  /** `npm:` specifiers without subpath, as written, to the names under which they are installed. */
  readonly npmImports: ReadonlyMap<string, string>;
  /** Hash-named folder of the packages: the same name means the same content. Undefined when there are none, or they are the source's own. */
  readonly folder: string | undefined;
}

export interface PreparePackagesOptions {
  readonly project: Project;
  readonly entries: readonly Entry[];
  readonly importMap: ImportMap;
  /** Of the project's own modules. */
  readonly scan: ModuleScan;
  readonly typeCheck: boolean;
  readonly context: BuildContext;
  /** Plugins that a pass of the bundler over the project's own modules needs. */
  readonly plugins: readonly Plugin[];
}

// What lockfiles of the package managers name by default; npm fetches from the registry of its configuration in their stead.
const REGISTRY_HOSTS = ["registry.npmjs.org", "registry.yarnpkg.com"];

/** Makes `node_modules` hold what the project imports, by its package.json, its lockfile and its `npm:` imports. */
export async function preparePackages(options: PreparePackagesOptions): Promise<Packages> {
  const { project, context } = options;
  const imports = [
    ...mappedImports(options.importMap),
    ...(options.scan.npm ? await collectImports(options) : []),
  ];
  const missingPackageAdvice = adviceFor(project);
  const importsAs = (nameOf: (specifier: NpmSpecifier) => string): Map<string, string> =>
    new Map(
      imports.map((specifier) => [
        `npm:${specifier.name}${specifier.range === "" ? "" : `@${specifier.range}`}`,
        nameOf(specifier),
      ]),
    );
  if (project.top.includes("node_modules/")) {
    context.log("using the node_modules of the source; nothing is installed");
    const folder = join(project.root, "node_modules");
    const native = await findNativePackages(folder);
    const { referring } = await scanModules(folder, true);
    return {
      packageFor: (specifier) => specifier.name,
      missingPackageAdvice,
      native,
      referring: referring.map(inPackages),
      npmImports: importsAs(({ name }) => name),
      folder: undefined,
    };
  }
  const pins = project.packageLock === undefined ? pinnedVersions(project) : undefined;
  const manifest = npmManifest(project.packageJson, imports, { pins, types: options.typeCheck });
  const packageLock =
    project.packageLock === undefined ? undefined : checkedLock(project.packageLock, manifest.leftOut);
  const packageFor = (specifier: NpmSpecifier): string =>
    manifest.installedAs.get(keyOf(specifier)) ?? specifier.name;
  const { dependencies, optionalDependencies, devDependencies } = manifest.packageJson;
  const wanted = { ...dependencies, ...optionalDependencies, ...(options.typeCheck ? devDependencies : {}) };
  if (Object.keys(wanted).length === 0)
    return {
      packageFor,
      missingPackageAdvice,
      native: [],
      referring: [],
      npmImports: new Map(),
      folder: undefined,
    };
  const installation = await installPackages({
    manifest,
    packageLock,
    dev: options.typeCheck,
    context,
  });
  await symlink(join(installation.folder, "node_modules"), join(project.root, "node_modules"), "dir");
  return {
    packageFor,
    missingPackageAdvice,
    native: installation.native,
    referring: installation.referring.map(inPackages),
    npmImports: importsAs(packageFor),
    folder: installation.folder,
  };
}

const inPackages = (path: string): string => `node_modules/${path}`;

function mappedImports(importMap: ImportMap): NpmSpecifier[] {
  return importMap.addresses
    .filter((address) => address.startsWith("npm:"))
    .map((address) => {
      const specifier = parseNpmSpecifier(address.replace(/\/$/, ""));
      if (!specifier)
        throw new BuildError(
          "user",
          `The import map's address "${address}" cannot be read: the form is npm:<package>@<version>`,
        );
      return specifier;
    });
}

/** Throws `BuildError` for a lock that fetches from elsewhere than a registry. */
function checkedLock(text: string, leftOut: boolean): string {
  const lock = leftOut ? withoutOwnPackage(text) : text;
  checkPackageLock(lock, registryHosts());
  return lock;
}

function registryHosts(): string[] {
  const configured = Object.entries(process.env)
    .filter(([name]) => /^npm_config_(?:registry|@.*:registry)$/i.test(name))
    .map(([, value]) => value)
    .filter((value) => value !== undefined && URL.canParse(value))
    .map((value) => new URL(value ?? "").host);
  return [...REGISTRY_HOSTS, ...configured];
}

function adviceFor({ packageJson }: Project): (name: string) => string {
  return (name) => {
    if (!packageJson) return `import it as "npm:${name}", or add a package.json that names it`;
    if (packageJson.devDependencies?.[name] !== undefined) {
      return "move it from devDependencies to dependencies in package.json";
    }
    return `add it to the dependencies of package.json (npm install ${name})`;
  };
}
