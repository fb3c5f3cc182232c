import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type ParseError, parse, printParseErrorCode } from "jsonc-parser";
import { z } from "zod";
import { BuildError, errno } from "./build-error.ts";

const Strings = z.record(z.string(), z.string());

const PackageJson = z.looseObject({
  name: z.string().optional(),
  main: z.string().optional(),
  module: z.string().optional(),
  exports: z.unknown().optional(),
  dependencies: Strings.optional(),
  devDependencies: Strings.optional(),
  optionalDependencies: Strings.optional(),
  peerDependencies: Strings.optional(),
  overrides: z.unknown().optional(),
  workspaces: z.unknown().optional(),
});
export type PackageJson = z.infer<typeof PackageJson>;

const DenoConfig = z.looseObject({
  imports: Strings.optional(),
  scopes: z.record(z.string(), Strings).optional(),
  importMap: z.string().optional(),
  exports: z.union([z.string(), Strings]).optional(),
  compilerOptions: z.looseObject({}).optional(),
  workspace: z.unknown().optional(),
  lock: z.unknown().optional(),
});
export type DenoConfig = z.infer<typeof DenoConfig>;

/** What a source folder says about itself. */
export interface Project {
  readonly root: string;
  /** Names of the files and folders at the top. */
  readonly top: readonly string[];
  readonly packageJson: PackageJson | undefined;
  readonly packageLock: string | undefined;
  readonly denoConfig: DenoConfig | undefined;
  readonly denoConfigName: string | undefined;
  readonly denoLock: string | undefined;
  readonly tsconfig: string | undefined;
}

export async function readProject(root: string): Promise<Project> {
  const entries = await readdir(root, { withFileTypes: true });
  const top = entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name)).sort();
  const denoConfigName = ["deno.json", "deno.jsonc"].find((name) => top.includes(name));
  const lockName = ["npm-shrinkwrap.json", "package-lock.json"].find((name) => top.includes(name));
  const text = async (name: string | undefined): Promise<string | undefined> =>
    name !== undefined && top.includes(name) ? await readText(root, name) : undefined;
  const packageText = await text("package.json");
  const denoText = await text(denoConfigName);
  return {
    root,
    top,
    packageJson:
      packageText === undefined ? undefined : parseAs(PackageJson, "package.json", packageText, false),
    packageLock: await text(lockName),
    denoConfig:
      denoText === undefined ? undefined : parseAs(DenoConfig, denoConfigName ?? "deno.json", denoText, true),
    denoConfigName,
    denoLock: await text("deno.lock"),
    tsconfig: top.includes("tsconfig.json") ? "tsconfig.json" : undefined,
  };
}

async function readText(root: string, name: string): Promise<string> {
  try {
    const text = await readFile(join(root, name), "utf8");
    return text.startsWith("\uFEFF") ? text.slice(1) : text;
  } catch (cause) {
    if (errno(cause) === "EISDIR")
      throw new BuildError("user", `"${name}" is a folder, not a file`, { cause });
    throw cause;
  }
}

/** Parses a JSON file of the source; `comments` also allows comments and trailing commas. Errors name the place. */
export function parseAs<T>(schema: z.ZodType<T>, name: string, text: string, comments: boolean): T {
  const errors: ParseError[] = [];
  const value: unknown = parse(text, errors, { disallowComments: !comments, allowTrailingComma: comments });
  const [first] = errors;
  if (first) {
    const before = text.slice(0, first.offset).split("\n");
    const place = `${name}:${before.length}:${(before.at(-1)?.length ?? 0) + 1}`;
    throw new BuildError("user", `${place}: ${sentence(printParseErrorCode(first.error))}`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.length ? `"${issue.path.join(".")}"` : "the file";
  throw new BuildError("user", `${name}: ${path}: ${issue?.message ?? "has the wrong form"}`);
}

/** "ColonExpected" → "colon expected". */
const sentence = (code: string): string => code.replaceAll(/(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase();
