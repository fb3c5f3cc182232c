import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { BuildError } from "./build-error.ts";
import type { Entry } from "./find-entries.ts";
import type { ImportMap } from "./import-map.ts";
import type { Packages } from "./packages.ts";
import { sdkFolder } from "./platform-modules-plugin.ts";
import type { Project } from "./project.ts";

export interface TypeCheckOptions {
  readonly project: Project;
  readonly entries: readonly Entry[];
  readonly importMap: ImportMap;
  readonly packages: Packages;
  readonly timeoutMs: number;
  readonly log: (line: string) => void;
}

const CONFIG = "tsconfig.isotope-check.json";
const GLOBALS = "isotope-globals.d.ts";
const MESSAGE = /^(?:(.+?)\((\d+),(\d+)\): )?error (TS\d+): (.*)$/;
const require = createRequire(import.meta.url);

/**
 * Runs the TypeScript compiler over the entries and what they import. Throws `BuildError` (user) with the first error's place;
 * every error goes to the log as `file:line:column: TS1234: message`.
 */
export async function typeCheck(options: TypeCheckOptions): Promise<void> {
  const { project, log } = options;
  await writeFile(join(project.root, GLOBALS), GLOBAL_TYPES);
  await writeFile(join(project.root, CONFIG), JSON.stringify(checkConfig(options)));
  const startedAt = performance.now();
  const { code, output } = await runCompiler(project.root, options.timeoutMs);
  const findings = output
    .split("\n")
    .map((line) => MESSAGE.exec(line.trim()))
    .filter((match) => match !== null)
    .map(
      ([, file, line, column, code, text]) => `${file ? `${file}:${line}:${column}: ` : ""}${code}: ${text}`,
    );
  const [first] = findings;
  if (code === 0) {
    log(`types checked in ${Math.round(performance.now() - startedAt)} ms`);
    return;
  }
  if (first === undefined)
    throw new BuildError("platform", `The type check failed: ${output.trim().slice(0, 500)}`);
  const more = findings.length - 1;
  throw new BuildError(
    "user",
    `${first}${more > 0 ? ` (and ${more} more ${more === 1 ? "error" : "errors"}, see the build log)` : ""}`,
    {
      detail: findings.map((finding) => `error: ${finding}`),
    },
  );
}

/** The source's own compiler options under those that a check of bundled modules needs. */
function checkConfig({ project, entries, packages, importMap }: TypeCheckOptions): unknown {
  const own = project.denoConfig?.compilerOptions;
  return {
    ...(own === undefined && project.tsconfig !== undefined ? { extends: `./${project.tsconfig}` } : {}),
    compilerOptions: {
      strict: true,
      target: "esnext",
      lib: ["esnext", "dom", "dom.iterable", "dom.asynciterable"],
      ...own,
      module: "esnext",
      moduleResolution: "bundler",
      ...(own?.["jsx"] === "precompile" ? { jsx: "react-jsx" } : {}),
      allowImportingTsExtensions: true,
      resolveJsonModule: true,
      allowJs: true,
      skipLibCheck: true,
      noEmit: true,
      composite: false,
      incremental: false,
      paths: { ...platformPaths(project.root), ...pathsOf(importMap, packages) },
      ...nodeTypes(),
    },
    files: [...entries.map((entry) => entry.file), GLOBALS],
    include: [],
  };
}

/** Types of Node's built-ins, which a pod has as well; the builder brings them along. */
function nodeTypes(): { types?: string[]; typeRoots?: string[] } {
  try {
    const folder = dirname(dirname(require.resolve("@types/node/package.json")));
    return { types: ["node"], typeRoots: ["./node_modules/@types", folder] };
  } catch {
    return {};
  }
}

/** Where the types of what the builder brings are: the platform's own, and XState's for sources that install none. */
function platformPaths(root: string): Record<string, string[]> {
  const modules = join(root, "node_modules");
  const paths: Record<string, string[]> = {};
  const sdk = sdkFolder();
  if (sdk !== undefined && !existsSync(join(modules, "@isotope", "platform"))) {
    const extension = existsSync(join(sdk, "index.d.ts")) ? "d.ts" : "ts";
    for (const [name, file] of [
      ["@isotope/platform", "index"],
      ["@isotope/platform/workflows", "workflows"],
    ] as const)
      paths[name] = [join(sdk, `${file}.${extension}`)];
  }
  const own = join(modules, "xstate");
  const xstate = existsSync(own) ? own : xstateFolder();
  // One XState for sources and platform: its types are not those of another copy.
  if (xstate !== undefined) Object.assign(paths, { xstate: [xstate], "xstate/*": [`${xstate}/*`] });
  return paths;
}

function xstateFolder(): string | undefined {
  try {
    return dirname(require.resolve("xstate/package.json"));
  } catch {
    return undefined;
  }
}

/** Import maps and `npm:` imports as the compiler's `paths`. */
function pathsOf(importMap: ImportMap, packages: Packages): Record<string, string[]> {
  const paths: Record<string, string[]> = {};
  const add = (key: string, target: string): void => {
    paths[key] = [target];
    if (!key.endsWith("/*")) paths[`${key}/*`] = [`${target}/*`];
  };
  for (const [text, name] of packages.npmImports) add(text, `./node_modules/${name}`);
  for (const key of importMap.keys) {
    const address = importMap.resolve(key, "");
    if (address?.startsWith("./"))
      paths[key.endsWith("/") ? `${key}*` : key] = [key.endsWith("/") ? `${address}*` : address];
    else if (address?.startsWith("npm:")) {
      const name = packages.npmImports.get(address);
      if (name !== undefined) add(key.replace(/\/$/, ""), `./node_modules/${name}`);
    }
  }
  return paths;
}

function runCompiler(root: string, timeoutMs: number): Promise<{ code: number | null; output: string }> {
  const compiler = join(dirname(require.resolve("typescript/package.json")), "bin", "tsc");
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [compiler, "--pretty", "false", "-p", CONFIG], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: timeoutMs,
      killSignal: "SIGKILL",
    });
    let output = "";
    const collect = (text: string): void => {
      if (output.length < 2 ** 20) output += text;
    };
    child.stdout.setEncoding("utf8").on("data", collect);
    child.stderr.setEncoding("utf8").on("data", collect);
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, output }));
  });
}

/** What functions find in a pod beyond the web's own globals, as far as checks of common code need it. */
const GLOBAL_TYPES = `
declare namespace Deno {
  interface ServeHandlerInfo { remoteAddr: { transport: "tcp"; hostname: string; port: number } }
  type ServeHandler = (request: Request, info: ServeHandlerInfo) => Response | Promise<Response>;
  interface ServeOptions { port?: number; hostname?: string; signal?: AbortSignal; onListen?(address: { hostname: string; port: number }): void; onError?(error: unknown): Response | Promise<Response> }
  function serve(handler: ServeHandler): { finished: Promise<void>; shutdown(): Promise<void> };
  function serve(options: ServeOptions, handler: ServeHandler): { finished: Promise<void>; shutdown(): Promise<void> };
  const env: { get(name: string): string | undefined; has(name: string): boolean; toObject(): Record<string, string> };
  function readTextFile(path: string | URL): Promise<string>;
  function readTextFileSync(path: string | URL): string;
  function readFile(path: string | URL): Promise<Uint8Array<ArrayBuffer>>;
  function readFileSync(path: string | URL): Uint8Array<ArrayBuffer>;
  function upgradeWebSocket(request: Request, options?: { protocol?: string; idleTimeout?: number }): { socket: WebSocket; response: Response };
}
interface ImportMeta { readonly url: string; readonly dirname?: string; readonly filename?: string; readonly main: boolean }
declare module "*.txt" { const text: string; export default text }
declare module "*.html" { const text: string; export default text }
declare module "*.svg" { const text: string; export default text }
declare module "*.md" { const text: string; export default text }
declare module "*.sql" { const text: string; export default text }
declare module "*.css" { const text: string; export default text }
declare module "*.wasm" { const module: WebAssembly.Module; export default module }
declare module "*.png" { const bytes: Uint8Array<ArrayBuffer>; export default bytes }
declare module "*.jpg" { const bytes: Uint8Array<ArrayBuffer>; export default bytes }
declare module "*.ttf" { const bytes: Uint8Array<ArrayBuffer>; export default bytes }
declare module "*.woff2" { const bytes: Uint8Array<ArrayBuffer>; export default bytes }
`;
