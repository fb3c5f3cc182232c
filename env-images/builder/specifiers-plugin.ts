import { builtinModules, isBuiltin } from "node:module";
import { relative, sep } from "node:path";
import type { OnResolveArgs, OnResolveResult, Plugin, PluginBuild } from "esbuild";
import type { ImportMap } from "./import-map.ts";
import { type NpmSpecifier, parseNpmSpecifier } from "./npm-specifier.ts";

export interface SpecifiersOptions {
  readonly root: string;
  readonly importMap: ImportMap;
  /** Where the installed package for an `npm:` import is found: a bare specifier without subpath. Undefined while imports are only being collected. */
  readonly packageFor: ((specifier: NpmSpecifier) => string) | undefined;
  /** Called for every `npm:` import. */
  readonly onNpm?: (specifier: NpmSpecifier) => void;
}

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&");

/** Matches exactly the built-in modules without `node:`; a trailing slash means the package of that name. */
const BARE_BUILTIN = new RegExp(
  `^(?:${builtinModules
    .filter((name) => !name.startsWith("_") && !name.startsWith("node:"))
    .map(escaped)
    .join("|")})$`,
);

/**
 * Resolves what esbuild does not know: `npm:` specifiers, import maps, built-ins without `node:`; and refuses what cannot be in a
 * bundle (`jsr:`, URLs), saying what to use instead. Filters are narrow, since each call crosses to another process.
 */
export function specifiersPlugin(options: SpecifiersOptions): Plugin {
  return {
    name: "specifiers",
    setup(build) {
      const resolve = (specifier: string, args: OnResolveArgs): Promise<OnResolveResult> | OnResolveResult =>
        resolveSpecifier(build, options, specifier, args);
      build.onResolve({ filter: BARE_BUILTIN }, (args) => ({ path: `node:${args.path}`, external: true }));
      build.onResolve({ filter: /^(?:npm|jsr|node|https?|http|file|blob|bun|cloudflare):/ }, (args) =>
        isMapped(args, options) ? undefined : resolve(args.path, args),
      );
      const mapped = mapFilter(options.importMap);
      if (mapped) {
        build.onResolve({ filter: mapped }, (args) => {
          if (!isMapped(args, options)) return undefined;
          const address = options.importMap.resolve(args.path, importerOf(args, options.root));
          return address === undefined ? undefined : resolve(address, args);
        });
      }
    },
  };
}

const importerOf = (args: OnResolveArgs, root: string): string =>
  relative(root, args.importer).replaceAll(sep, "/");

/** Import maps hold for the project's own modules, not for packages. */
function isMapped(args: OnResolveArgs, { importMap, root }: SpecifiersOptions): boolean {
  if (args.importer.includes(`${sep}node_modules${sep}`) || args.pluginData === RESOLVED) return false;
  return importMap.resolve(args.path, importerOf(args, root)) !== undefined;
}

const RESOLVED = Symbol("resolved by the import map");

function mapFilter(importMap: ImportMap): RegExp | undefined {
  if (importMap.keys.length === 0) return undefined;
  return new RegExp(
    `^(?:${importMap.keys.map((key) => (key.endsWith("/") ? escaped(key) : `${escaped(key)}(?:/|$)`)).join("|")})`,
  );
}

const refused = (text: string): OnResolveResult => ({ errors: [{ text }] });

function resolveSpecifier(
  build: PluginBuild,
  options: SpecifiersOptions,
  specifier: string,
  args: OnResolveArgs,
): Promise<OnResolveResult> | OnResolveResult {
  if (specifier.startsWith("node:")) {
    if (isBuiltin(specifier)) return { path: specifier, external: true };
    return refused(`There is no built-in module "${specifier}"`);
  }
  if (specifier.startsWith("npm:")) return resolveNpm(build, options, specifier, args);
  if (specifier.startsWith("jsr:")) return refused(jsrAdvice(specifier));
  if (/^https?:/.test(specifier)) return refused(urlAdvice(specifier));
  if (/^(?:file|blob|bun|cloudflare):/.test(specifier)) {
    return refused(
      `Cannot import "${specifier}": allowed are relative paths, npm: packages and node: built-ins`,
    );
  }
  return build.resolve(specifier, {
    kind: args.kind,
    importer: args.importer,
    // Addresses of an import map are relative to the project.
    resolveDir: specifier.startsWith(".") ? options.root : args.resolveDir,
    with: args.with,
    pluginData: RESOLVED,
  });
}

function resolveNpm(
  build: PluginBuild,
  options: SpecifiersOptions,
  text: string,
  args: OnResolveArgs,
): Promise<OnResolveResult> | OnResolveResult {
  const specifier = parseNpmSpecifier(text);
  if (!specifier) return refused(`Cannot read "${text}": the form is npm:<package>@<version>/<path>`);
  options.onNpm?.(specifier);
  if (!options.packageFor) return { path: text, external: true };
  return build.resolve(options.packageFor(specifier) + specifier.subpath, {
    kind: args.kind,
    importer: args.importer,
    resolveDir: options.root,
    with: args.with,
    pluginData: RESOLVED,
  });
}

function jsrAdvice(specifier: string): string {
  const name = /^jsr:\/?(@[\w.-]+\/[\w.-]+)/.exec(specifier)?.[1];
  const replacement = name === undefined ? undefined : JSR_REPLACEMENTS[name];
  const advice = replacement === undefined ? "use an npm: package" : `use ${replacement}`;
  return `Cannot import "${specifier}": JSR packages cannot be fetched at build time; ${advice}, or put its code into the source`;
}

/** Standard library modules that people meet first. */
const JSR_REPLACEMENTS: Readonly<Record<string, string>> = {
  "@std/path": '"node:path"',
  "@std/fs": '"node:fs/promises"',
  "@std/assert": '"node:assert"',
  "@std/crypto": '"node:crypto" or the global crypto.subtle',
  "@std/encoding": '"node:buffer" (hex, base64)',
  "@std/uuid": "crypto.randomUUID()",
  "@std/dotenv": "the function's env",
  "@std/yaml": '"npm:yaml"',
  "@std/csv": '"npm:csv-parse"',
  "@std/semver": '"npm:semver"',
  "@hono/hono": '"npm:hono"',
  "@zod/zod": '"npm:zod"',
};

function urlAdvice(specifier: string): string {
  const cdn =
    /^https:\/\/(?:esm\.sh|cdn\.skypack\.dev|esm\.run|cdn\.jsdelivr\.net\/npm|unpkg\.com)\/(?:v\d+\/|stable\/)?((?:@[\w.-]+\/)?[\w.-]+(?:@[\w.^~-]+)?)/.exec(
      specifier,
    )?.[1];
  const advice = cdn === undefined ? "use an npm: package" : `use "npm:${cdn}"`;
  return `Cannot import "${specifier}": modules are not fetched from URLs; ${advice}, or put its code into the source`;
}
