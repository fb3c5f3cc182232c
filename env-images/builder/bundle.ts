import { isAbsolute } from "node:path";
import {
  type BuildFailure,
  type BuildOptions,
  type BuildResult,
  build as esbuild,
  type Message,
  type Plugin,
} from "esbuild";
import { BuildError } from "./build-error.ts";
import { compilerOptions } from "./compiler-options.ts";
import { type Finding, findingOf, framed, sentenceOf } from "./describe-messages.ts";
import type { Entry } from "./find-entries.ts";
import type { Project } from "./project.ts";
import { SHIM_LINE } from "./runtime-shims.ts";

export interface BundleFile {
  /** Relative to the artifact, with `/`. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface Bundle {
  readonly files: readonly BundleFile[];
  /** Paths of all modules that went in, relative to the project. */
  readonly inputs: readonly string[];
  readonly warnings: number;
}

export interface BundleOptions {
  readonly project: Project;
  readonly entries: readonly Entry[];
  readonly plugins: readonly Plugin[];
  readonly log: (line: string) => void;
  /** Leaves packages out: a look at the project's own modules before anything is installed. */
  readonly ownModulesOnly?: boolean;
  /** Added to the message for a package that is not found. */
  readonly missingPackageAdvice: (name: string) => string;
}

/** Conditions of a package's `exports` that hold in a pod; the order is the package's. As Deno's, plus bundlers' `module`. */
const CONDITIONS = ["deno", "node", "module"];

const TEXT_FILES = [
  ".txt",
  ".html",
  ".htm",
  ".svg",
  ".md",
  ".css",
  ".sql",
  ".graphql",
  ".gql",
  ".xml",
  ".csv",
  ".pem",
  ".yaml",
  ".yml",
  ".toml",
];

export function bundleOptions(
  project: Project,
  entries: readonly Entry[],
  plugins: readonly Plugin[],
): BuildOptions {
  return {
    absWorkingDir: project.root,
    entryPoints: entries.map((entry) => ({ in: `./${entry.file}`, out: entry.name })),
    outdir: project.root,
    allowOverwrite: true,
    write: false,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "esnext",
    // V8 parses no decorators yet.
    supported: { decorators: false },
    conditions: CONDITIONS,
    splitting: entries.length > 1,
    // Beside the entries, since relative URLs of files hold for all of them.
    chunkNames: "[name]-[hash]",
    loader: Object.fromEntries(TEXT_FILES.map((extension) => [extension, "text"])),
    // Modules lie in a linked folder of packages; their names must not depend on where that is.
    preserveSymlinks: true,
    nodePaths: [],
    sourcemap: "linked",
    sourcesContent: false,
    keepNames: true,
    treeShaking: true,
    legalComments: "external",
    charset: "utf8",
    banner: { js: SHIM_LINE },
    define: { __dirname: "__isotopeDirname", __filename: "__isotopeFilename" },
    metafile: true,
    logLevel: "silent",
    // A module of the reference system's Node form says `module.exports` in a folder of type "module"; it is served as it is.
    logOverride: { "commonjs-variable-in-esm": "silent" },
    plugins: [...plugins],
    ...compilerOptions(project),
  };
}

/** One pass of the bundler. Throws `BuildError` (user) with the first error's place; all errors go to the log with their source lines. */
export async function bundle(options: BundleOptions): Promise<Bundle> {
  const { project } = options;
  const isInside = insideProject;
  let result: BuildResult;
  try {
    result = await esbuild({
      ...bundleOptions(project, options.entries, options.plugins),
      ...(options.ownModulesOnly ? { packages: "external" } : {}),
    });
  } catch (error) {
    if (!isBuildFailure(error)) throw error;
    throw failure(error.errors, options);
  }
  const inputs = Object.keys(result.metafile?.inputs ?? {});
  refuseOutside(result, options.missingPackageAdvice);
  for (const warning of result.warnings) {
    for (const line of framed(findingOf(warning, isInside), "warning")) options.log(line);
  }
  const files = (result.outputFiles ?? []).map((file) => ({
    path: file.path.slice(project.root.length + 1).replaceAll("\\", "/"),
    bytes: file.contents,
  }));
  return { files, inputs, warnings: result.warnings.length };
}

function isBuildFailure(error: unknown): error is BuildFailure {
  return (
    error instanceof Error && "errors" in error && Array.isArray(error.errors) && error.errors.length > 0
  );
}

/** Whether a path that esbuild reports lies in the project; a module of a plugin has its namespace in front. */
function insideProject(path: string): boolean {
  const file = path.replace(/^[\w-]{2,}:/, "");
  return !isAbsolute(file) && !file.startsWith("../") && !/^[A-Za-z]:/.test(file);
}

/**
 * A source decides which files are bundled (`../..`, a package's `main`, an alias): what is not its own would carry the
 * builder's files into the artifact.
 */
function refuseOutside(result: BuildResult, missingPackageAdvice: (name: string) => string): void {
  const all = Object.entries(result.metafile?.inputs ?? {});
  if (all.every(([input]) => insideProject(input))) return;
  const [importer, original, path] = all
    .filter(([input]) => insideProject(input))
    .flatMap(([input, { imports }]) =>
      imports
        .filter(({ path, external }) => !external && !insideProject(path))
        .map(({ path, original = "a file" }) => [input, original, path] as const),
    )[0] ?? ["The source", "a file", ""];
  const name = path.includes("/node_modules/") ? PACKAGE_NAME.exec(original)?.[0] : undefined;
  // A package that lies in a folder above: it is there on this machine, and nowhere else.
  throw new BuildError(
    "user",
    name === undefined
      ? `${importer}: Cannot import "${original}": it is outside the source`
      : `${importer}: Cannot find package "${original}": ${missingPackageAdvice(name)}`,
  );
}

/** Of a bare specifier. */
const PACKAGE_NAME = /^(?:@[a-z0-9~_-][^/\\:]*\/)?[a-z0-9~_-][^/\\:]*(?=\/|$)/i;

function failure(errors: readonly Message[], options: BundleOptions): BuildError {
  const findings = errors.map((error) => advised(findingOf(error, insideProject), options));
  const [first] = findings;
  const more = findings.length - 1;
  const suffix = more > 0 ? ` (and ${more} more ${more === 1 ? "error" : "errors"}, see the build log)` : "";
  return new BuildError("user", `${first ? sentenceOf(first) : "The bundler failed"}${suffix}`, {
    detail: findings.flatMap((finding) => framed(finding, "error")),
  });
}

const NOT_FOUND = /^Could not resolve "([^"]+)"/;

/** Replaces the bundler's own advice (which speaks of its options) by what helps here. */
function advised(finding: Finding, options: BundleOptions): Finding {
  const specifier = NOT_FOUND.exec(finding.text)?.[1];
  if (specifier === undefined) return finding;
  if (specifier.startsWith(".") || specifier.startsWith("/") || specifier.startsWith("#")) {
    return { ...finding, text: `Cannot find "${specifier}" in the source`, notes: [] };
  }
  const name = /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;
  return {
    ...finding,
    text: `Cannot find package "${specifier}": ${options.missingPackageAdvice(name)}`,
    notes: [],
  };
}
