import { BuildError } from "./build-error.ts";
import type { NpmSpecifier } from "./npm-specifier.ts";
import type { PackageJson } from "./project.ts";

/** What is to be installed. */
export interface NpmManifest {
  /** The package.json for npm: the source's dependencies and what its `npm:` imports add. */
  readonly packageJson: {
    readonly name: string;
    readonly private: true;
    readonly dependencies: Readonly<Record<string, string>>;
    readonly devDependencies: Readonly<Record<string, string>>;
    readonly optionalDependencies: Readonly<Record<string, string>>;
    readonly peerDependencies?: Readonly<Record<string, string>>;
    readonly overrides: unknown;
  };
  /** Names that `npm:` imports added: no lockfile of the source knows them. */
  readonly added: readonly string[];
  /** The builder brings a package that the source's lockfile, if there is one, names as well. */
  readonly leftOut: boolean;
  /** The name in `dependencies` for each `npm:` import, by `name@range`. */
  readonly installedAs: ReadonlyMap<string, string>;
}

const VALID_NAME = /^(?:@[a-z0-9~_-][a-z0-9._~-]*\/)?[a-z0-9~_-][a-z0-9._~-]*$/i;
// Everything that makes npm look elsewhere than in a registry.
const NOT_REGISTRY =
  /^(?:file|link|workspace|portal|patch|catalog|git|github|gitlab|bitbucket|gist|ssh|https?)(?:\+\w+)?:|^[\w.-]+\/[\w.-]+(?:#|$)|^[./~]|:\/\//i;

/** What a source imports of the platform: the builder brings it. */
const OWN_PACKAGE = "@isotope/platform";
const FIELDS = ["dependencies", "devDependencies", "optionalDependencies"] as const;

/** Checks one dependency. Throws `BuildError` for what no registry serves, since npm would run git, copy folders or fetch any URL for it. */
function checkedRange(name: string, range: string, where: string): string {
  if (!VALID_NAME.test(name) || name.length > 214) {
    throw new BuildError("user", `${where}: "${name}" is no valid package name`);
  }
  if (NOT_REGISTRY.test(range)) {
    throw new BuildError(
      "user",
      `${where}: dependency "${name}" must come from the npm registry, got "${range}"; put its code into the source and import it by path instead`,
    );
  }
  return range;
}

export interface ManifestOptions {
  /** Types are checked: then those of the platform are needed as well. */
  readonly types: boolean;
  /** Overrides and exact versions (by `name@range`) that a lockfile other than npm's gives. */
  readonly pins: { readonly overrides: unknown; readonly versions: ReadonlyMap<string, string> } | undefined;
}

/** The manifest for a package.json and `npm:` imports together. Throws `BuildError` for what does not come from a registry. */
export function npmManifest(
  packageJson: PackageJson | undefined,
  imports: readonly NpmSpecifier[],
  { pins, types }: ManifestOptions,
): NpmManifest {
  // Installed, it would bring the whole platform along; what is for development is installed for its types only. One that was packed by hand is in no registry.
  const isLeftOut = (field: string, range: string): boolean =>
    NOT_REGISTRY.test(range) || (!types && field !== "devDependencies");
  const checkedAll = (field: (typeof FIELDS)[number]): Record<string, string> =>
    Object.fromEntries(
      Object.entries(packageJson?.[field] ?? {}).flatMap(([name, range]) => {
        if (name === OWN_PACKAGE && isLeftOut(field, range)) return [];
        const checked = checkedRange(name, range, "package.json");
        return [[name, pins?.versions.get(`${name}@${checked}`) ?? checked]];
      }),
    );
  const dependencies = checkedAll("dependencies");
  const optionalDependencies = checkedAll("optionalDependencies");
  const { installedAs, added } = placeImports(
    imports,
    { ...optionalDependencies, ...dependencies },
    pins?.versions ?? new Map(),
  );
  return {
    packageJson: {
      name: "function",
      private: true,
      dependencies: sorted({ ...dependencies, ...added }),
      devDependencies: sorted(checkedAll("devDependencies")),
      optionalDependencies: sorted(optionalDependencies),
      ...(packageJson?.peerDependencies ? { peerDependencies: sorted(packageJson.peerDependencies) } : {}),
      overrides: pins?.overrides ?? packageJson?.overrides,
    },
    added: Object.keys(added),
    leftOut: FIELDS.some((field) => {
      const range = packageJson?.[field]?.[OWN_PACKAGE];
      return range !== undefined && isLeftOut(field, range);
    }),
    installedAs,
  };
}

const sorted = (map: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));

/** Finds a name for each import's package: its own unless that is taken by another version. */
function placeImports(
  imports: readonly NpmSpecifier[],
  declared: Readonly<Record<string, string>>,
  versions: ReadonlyMap<string, string>,
): { installedAs: Map<string, string>; added: Record<string, string> } {
  const installedAs = new Map<string, string>();
  const added: Record<string, string> = {};
  // Imports with a version first, so that one without takes what is there.
  const ordered = [...imports].sort(
    (a, b) => Number(a.range === "") - Number(b.range === "") || (keyOf(a) < keyOf(b) ? -1 : 1),
  );
  for (const specifier of ordered) {
    const key = keyOf(specifier);
    if (installedAs.has(key)) continue;
    const range = checkedRange(
      specifier.name,
      versions.get(key) ?? (specifier.range || "latest"),
      `"npm:${key}"`,
    );
    const present = declared[specifier.name] ?? added[specifier.name];
    if (present === undefined) added[specifier.name] = range;
    if (present === undefined || present === range || specifier.range === "") {
      installedAs.set(key, specifier.name);
      continue;
    }
    const alias = `${specifier.name.replace("@", "").replace("/", "__")}__${range.replaceAll(/[^\w.-]/g, "_").toLowerCase()}`;
    added[alias] = `npm:${specifier.name}@${range}`;
    installedAs.set(key, alias);
  }
  return { installedAs, added };
}

/** `name@range`, the form in which lockfiles and messages name an import. */
export const keyOf = (specifier: NpmSpecifier): string => `${specifier.name}@${specifier.range}`;

/** A package-lock.json without the platform's own package: what only that needed is dropped by the installation. */
export function withoutOwnPackage(text: string): string {
  const lock = parsedLock(text);
  const packages = recordAt(lock, "packages");
  const root = recordAt(packages, "");
  for (const field of FIELDS) if (field in root) root[field] = without(root[field], [OWN_PACKAGE]);
  const own = Object.keys(packages).filter(
    (path) => path === OWN_FOLDER || path.startsWith(`${OWN_FOLDER}/`),
  );
  return JSON.stringify({ ...Object(lock), packages: without({ ...packages, "": root }, own) });
}

function parsedLock(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BuildError("user", "package-lock.json is no JSON", { cause });
  }
}

const OWN_FOLDER = `node_modules/${OWN_PACKAGE}`;
const without = (value: unknown, keys: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(Object.entries(Object(value)).filter(([key]) => !keys.includes(key)));

/** Refuses a package-lock.json that would fetch from elsewhere than a registry, or unverified. */
export function checkPackageLock(text: string, registryHosts: readonly string[]): void {
  for (const [path, entry] of Object.entries(recordAt(parsedLock(text), "packages"))) {
    if (path === "") continue;
    const resolved = stringAt(entry, "resolved");
    if (valueAt(entry, "link") === true) {
      throw new BuildError(
        "user",
        `package-lock.json: "${path}" is a link to a folder; put its code into the source and import it by path instead`,
      );
    }
    if (resolved === undefined) continue;
    const host = URL.canParse(resolved) ? new URL(resolved) : undefined;
    if (!host || !/^https?:$/.test(host.protocol) || !registryHosts.includes(host.host)) {
      throw new BuildError(
        "user",
        `package-lock.json: "${path}" comes from "${redacted(resolved)}", which is no npm registry that this platform uses`,
      );
    }
    if (stringAt(entry, "integrity") === undefined && valueAt(entry, "inBundle") !== true) {
      throw new BuildError(
        "user",
        `package-lock.json: "${path}" has no integrity; make the lockfile anew with npm install --package-lock-only`,
      );
    }
  }
}

function valueAt(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null
    ? Object.getOwnPropertyDescriptor(value, key)?.value
    : undefined;
}

function stringAt(value: unknown, key: string): string | undefined {
  const found = valueAt(value, key);
  return typeof found === "string" ? found : undefined;
}

function recordAt(value: unknown, key: string): Record<string, unknown> {
  const found = valueAt(value, key);
  return typeof found === "object" && found !== null ? Object.fromEntries(Object.entries(found)) : {};
}

/** A text without credentials: user names in URLs, npm tokens, authorization values. */
export function redacted(text: string): string {
  return text
    .replaceAll(/(\w+:\/\/)[^\s/@]+@/g, "$1***@")
    .replaceAll(/(_authToken|_auth|_password|authorization|bearer)(["']?\s*[=:]?\s*)[^\s"',]+/gi, "$1$2***")
    .replaceAll(/\bnpm_[A-Za-z0-9]{20,}\b/g, "***");
}
