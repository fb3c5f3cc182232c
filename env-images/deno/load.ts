import type { SpecializeError } from "../../api/wire/specialize.ts";
import { LARGE_FROM_BYTES } from "./archive.ts";
import { loadBundle } from "./bundle-module.ts";
import type { CodeTree } from "./code-tree.ts";
import { uncurryThis } from "./primordials.ts";
import { classifyHandler, ENV_HANDLER_FORM, HANDLER_FORMS, type HandlerForm } from "./handler-form.ts";

/** The code cannot be served; `code` is that of `SpecializeError`. */
export class LoadFailure extends Error {
  override readonly name = "LoadFailure";
  readonly code: SpecializeError["code"];
  readonly origin: unknown;
  constructor(code: SpecializeError["code"], message: string, origin?: unknown) {
    super(message);
    this.code = code;
    this.origin = origin;
  }
}

export type AnyFunction = (this: unknown, ...args: never[]) => unknown;

/** What is called per request. */
export type Handler =
  | { readonly form: "fetch"; readonly call: AnyFunction; readonly self: object }
  | { readonly form: "serve"; readonly call: AnyFunction }
  | { readonly [Form in HandlerForm]: { readonly form: Form; readonly call: AnyFunction } }[HandlerForm];

const EXTENSIONS = [".js", ".mjs", ".cjs", ".ts", ".mts", ".tsx", ".jsx"];
const DEFAULT_FILES = ["index", "main", "mod", "user"];

function findFile(tree: CodeTree, base: string): string | undefined {
  const candidates = [
    base,
    ...EXTENSIONS.map((end) => base + end),
    ...EXTENSIONS.map((end) => `${base}/index${end}`),
  ];
  return candidates.find((path) => tree.isFile(path));
}

function packageMain(tree: CodeTree, folder: string): string | undefined {
  const path = `${folder}/package.json`;
  if (!tree.isFile(path)) return undefined;
  try {
    const manifest: unknown = JSON.parse(tree.text(path));
    if (
      typeof manifest === "object" &&
      manifest !== null &&
      "main" in manifest &&
      typeof manifest.main === "string"
    ) {
      return findFile(tree, `${folder}/${manifest.main.replace(/^\.\//, "")}`);
    }
  } catch {
    // Without a readable manifest the usual names count.
  }
  return undefined;
}

function inside(tree: CodeTree, folder: string, name: string): string | undefined {
  const clean = name.replace(/^\.\//, "");
  return clean.startsWith("/") || clean.split("/").includes("..")
    ? undefined
    : findFile(tree, `${folder}/${clean}`);
}

function defaultFile(tree: CodeTree, folder: string): string | undefined {
  for (const name of DEFAULT_FILES) {
    const found = inside(tree, folder, name);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * File and export that an entry point names: `""`, `"file"`, `"file.export"`, `".export"`.
 * `place` is a folder, or the only file. Throws LoadFailure `entry_not_found`.
 */
function findEntry(
  tree: CodeTree,
  place: string,
  functionName: string,
): { readonly file: string; readonly exportName: string } {
  const dot = functionName.lastIndexOf(".");
  if (tree.isFile(place)) return { file: place, exportName: dot === -1 ? "" : functionName.slice(dot + 1) };
  const whole = functionName === "" ? undefined : inside(tree, place, functionName);
  if (whole !== undefined) return { file: whole, exportName: "" };
  const fileName = dot === -1 ? functionName : functionName.slice(0, dot);
  const exportName = dot === -1 ? "" : functionName.slice(dot + 1);
  const file =
    fileName === "" ? (packageMain(tree, place) ?? defaultFile(tree, place)) : inside(tree, place, fileName);
  if (file !== undefined) return { file, exportName };
  const wanted = fileName === "" ? "index.js" : `${fileName}.js`;
  throw new LoadFailure(
    "entry_not_found",
    `Cannot load the function: entry "${functionName}" needs the file "${wanted}", which the archive does not have`,
  );
}

const HAS_ESM_SYNTAX =
  /^\s*(?:import\s*(?:[\w*{"'$]|\()|export\s*(?:[{*]|default\b|const\b|let\b|var\b|function\b|class\b|async\b))/m;
const HAS_CJS_SYNTAX =
  /\bmodule\s*\.\s*exports\b|(?<![\w$.])exports\s*(?:\.\s*[\w$]+|\[[^\]]+\])\s*=|(?<![\w$.])require\s*\(\s*["'`]/;

const TAIL_CHARACTERS = 2_048;
/** Whether the text of a `.js` file is CommonJS: it exports as such and has no module syntax of its own. */
export function isCommonJs(file: string, source: string): boolean {
  if (file.endsWith(".cjs")) return true;
  if (file.endsWith(".mjs") || /\.[mc]?tsx?$/.test(file)) return false;
  // What a bundler writes exports at its end.
  if (HAS_ESM_SYNTAX.test(source.slice(-TAIL_CHARACTERS))) return false;
  return HAS_CJS_SYNTAX.test(source) && !HAS_ESM_SYNTAX.test(source);
}

/** Deno maps the stacks that a function itself reads; the usual import takes 3 ms more, which a small function that reads none need not wait. */
const READS_STACKS = /stack|inspect|\bformat\b|StackTrace/i;

const fileUrl = (path: string): string => `file://${path.split("/").map(encodeURIComponent).join("/")}`;

async function importModule(tree: CodeTree, file: string): Promise<object> {
  const source = tree.text(file);
  if (isCommonJs(file, source)) {
    await tree.settle();
    const { createRequire } = await import("node:module");
    const exports: unknown = createRequire(file)(file);
    const named = typeof exports === "object" || typeof exports === "function" ? exports : {};
    return { ...named, default: exports };
  }
  const url = fileUrl(file);
  const straight = source.length >= LARGE_FROM_BYTES || !READS_STACKS.test(source);
  const alone = straight && /\.m?js$/.test(file) && tree.standsAlone(file);
  const loaded = alone ? await loadBundle(source, file, url, tree.textOnDemand) : undefined;
  if (loaded !== undefined) return loaded;
  await tree.settle();
  return await import(url);
}

const functionText = uncurryThis(Function.prototype.toString);
const readVariable = Deno.env.get.bind(Deno.env);
const readProperty = Reflect.get;
const objectHas = Object.hasOwn;

const isFunction = (value: unknown): value is AnyFunction => typeof value === "function";

function formOf(call: AnyFunction): HandlerForm {
  const forced = readVariable(ENV_HANDLER_FORM);
  if (forced === undefined) return classifyHandler(functionText(call), call.length);
  const form = HANDLER_FORMS.find((name) => name === forced);
  if (form !== undefined) return form;
  throw new LoadFailure(
    "handler_not_found",
    `Cannot load the function: ${ENV_HANDLER_FORM} must be one of ${HANDLER_FORMS.join(", ")}, got "${forced}"`,
  );
}

function asHandler(value: unknown): Handler | undefined {
  if (isFunction(value)) {
    return "fetch" in value && isFunction(value.fetch) && value.length === 0
      ? { form: "fetch", call: value.fetch, self: value }
      : { form: formOf(value), call: value };
  }
  if (typeof value === "object" && value !== null && "fetch" in value && isFunction(value.fetch)) {
    return { form: "fetch", call: value.fetch, self: value };
  }
  return undefined;
}

/** The handler of a loaded module. `served` is what the module gave to `Deno.serve`. Throws LoadFailure `handler_not_found`. */
export function findHandler(module: object, exportName: string, served: AnyFunction | null): Handler {
  // A bundle may export thousands of names: they are looked at one by one.
  const fallback: unknown = readProperty(module, "default");
  if (exportName !== "") {
    const nested =
      typeof fallback === "object" && fallback !== null ? readProperty(fallback, exportName) : undefined;
    const handler = asHandler(
      (objectHas(module, exportName) ? readProperty(module, exportName) : undefined) ?? nested,
    );
    if (handler !== undefined) return handler;
  } else {
    // A bundler wraps CommonJS once more: `export default { default: f }` under __esModule.
    const nested =
      typeof fallback === "object" && fallback !== null && "default" in fallback
        ? fallback.default
        : undefined;
    const handler =
      asHandler(fallback) ??
      asHandler(nested) ??
      (served === null ? undefined : { form: "serve", call: served });
    if (handler !== undefined) return handler;
  }
  const names = Object.keys(module);
  const has =
    names.length === 0 ? "it exports nothing" : `it exports ${names.map((name) => `"${name}"`).join(", ")}`;
  throw new LoadFailure(
    "handler_not_found",
    exportName === ""
      ? `Cannot load the function: the module must export a default function or { fetch }, or call Deno.serve; ${has}`
      : `Cannot load the function: export "${exportName}" must be a function or have a fetch method; ${has}`,
  );
}

/** Loads the entry point. Rejects with LoadFailure. */
export async function loadHandler(
  tree: CodeTree,
  place: string,
  functionName: string,
  served: () => AnyFunction | null,
): Promise<Handler> {
  const { file, exportName } = findEntry(tree, place, functionName);
  let module: object;
  try {
    module = await importModule(tree, file);
  } catch (error) {
    const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    throw new LoadFailure("load_failed", `Cannot load the function: ${reason}`, error);
  }
  return findHandler(module, exportName, served());
}
