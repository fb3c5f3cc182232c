import { posix } from "node:path";

/** Folder of the artifact that holds files which modules read while they run, under their paths in the source. */
export const FILES_FOLDER = "files";

export interface RewrittenModule {
  readonly code: string;
  /** Files and folders that the module reads, relative to the project. */
  readonly read: readonly string[];
  /** Modules that it starts as workers, relative to the project. */
  readonly workers: readonly string[];
}

/** What a path is; undefined when nothing is there or it may not be read. */
export type PathKind = (path: string) => "file" | "folder" | undefined;

const LITERAL = String.raw`(?:"[^"\\\n]*"|'[^'\\\n]*')`;
const FOLDER = String.raw`(?:__dirname|import\.meta\.dirname)!?`;
const IN_URL = new RegExp(
  String.raw`(new\s+(?:Shared)?Worker\(\s*)?new\s+URL\(\s*(${LITERAL})\s*,\s*import\.meta\.url\s*\)`,
  "g",
);
const IN_JOIN = new RegExp(String.raw`((?:join|resolve)\)?\(\s*${FOLDER})((?:\s*,\s*${LITERAL})+)`, "g");
const IN_SUM = new RegExp(String.raw`(${FOLDER}\s*\+\s*)(${LITERAL})`, "g");
const IN_TEMPLATE = new RegExp(String.raw`(\$\{${FOLDER}\})(/[^\`$\\\n]+)`, "g");
const MODULE = /\.(?:[cm]?[jt]s|[jt]sx)$/;

/** Whether a text can hold a reference at all. */
export const mayReferToFiles = (code: string | Buffer): boolean =>
  code.includes("import.meta.url") || code.includes("__dirname") || code.includes("import.meta.dirname");

/**
 * Points the expressions by which a module finds files beside itself (`new URL("./x.wasm", import.meta.url)`,
 * `join(__dirname, "x")`, `__dirname + "/x"`) at the artifact's copy of them. `file` is the module, relative to the project.
 * Only literal paths of what exists are touched. Lines stay where they are.
 */
export function rewriteFileReferences(code: string, file: string, kindOf: PathKind): RewrittenModule {
  const read = new Set<string>();
  const workers = new Set<string>();
  const folder = posix.dirname(file);
  const target = (relative: string): string | undefined => {
    const path = posix.normalize(posix.join(folder, relative)).replace(/\/$/, "");
    if (path.startsWith("..") || path === "." || MODULE.test(path)) return undefined;
    const kind = kindOf(path);
    // A folder that holds the module itself is not data of it.
    if (kind === undefined || (kind === "folder" && `${file}/`.startsWith(`${path}/`))) return undefined;
    read.add(path);
    return path;
  };
  const rewritten = code
    .replaceAll(IN_URL, (whole, worker: string | undefined, literal: string) => {
      const text = unquoted(literal);
      if (/^[\w+.-]+:/.test(text) || text.startsWith("/")) return whole;
      if (worker !== undefined && MODULE.test(text)) {
        const path = posix.normalize(posix.join(folder, text));
        if (path.startsWith("..") || kindOf(path) !== "file") return whole;
        workers.add(path);
        return `${worker}new URL(${JSON.stringify(`./${workerOutput(path)}`)}, import.meta.url)`;
      }
      const path = target(text);
      if (path === undefined) return whole;
      return `${worker ?? ""}new URL(${JSON.stringify(`./${FILES_FOLDER}/${path}${text.endsWith("/") ? "/" : ""}`)}, import.meta.url)`;
    })
    .replaceAll(IN_JOIN, (whole, head: string, literals: string) => {
      const parts = [...literals.matchAll(new RegExp(LITERAL, "g"))].map(([literal]) => unquoted(literal));
      const path = target(posix.join(...parts));
      return path === undefined ? whole : `${head}, ${JSON.stringify(`${FILES_FOLDER}/${path}`)}`;
    })
    .replaceAll(IN_SUM, (whole, head: string, literal: string) => {
      const text = unquoted(literal);
      const path = text.startsWith("/") ? target(`.${text}`) : undefined;
      return path === undefined
        ? whole
        : `${head}${JSON.stringify(`/${FILES_FOLDER}/${path}${text.endsWith("/") ? "/" : ""}`)}`;
    })
    .replaceAll(IN_TEMPLATE, (whole, head: string, text: string) => {
      const path = target(`.${text}`);
      return path === undefined ? whole : `${head}/${FILES_FOLDER}/${path}${text.endsWith("/") ? "/" : ""}`;
    });
  return { code: rewritten, read: [...read], workers: [...workers] };
}

/** Where a worker's bundle is in the artifact: at the top, so that relative URLs of files hold in it too. */
export const workerOutput = (path: string): string =>
  `worker-${path.replace(MODULE, "").replaceAll("/", "-")}.js`;

const unquoted = (literal: string): string => literal.slice(1, -1);
