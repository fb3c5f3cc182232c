import { statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname, join, relative, sep } from "node:path";
import type { Loader, OnLoadResult, Plugin } from "esbuild";
import { FILES_FOLDER, type PathKind, rewriteFileReferences } from "./file-references.ts";
import { wasmModule } from "./wasm-module.ts";

/** What modules read and start beside being imported, filled while the bundler runs; paths relative to the project. */
export interface FoundAssets {
  readonly read: Set<string>;
  readonly workers: Set<string>;
}

export interface AssetsOptions {
  readonly root: string;
  /** Modules that may refer to files, relative to the project. */
  readonly referring: readonly string[];
  readonly found: FoundAssets;
}

const BINARY =
  /\.(?:png|jpe?g|gif|webp|avif|ico|bmp|tiff?|woff2?|ttf|otf|eot|pdf|bin|dat|db|mmdb|zip|gz|br|mp3|mp4|wav|ogg|webm|wasm)$/;
const LOADERS: Readonly<Record<string, Loader>> = {
  ".ts": "ts",
  ".mts": "ts",
  ".cts": "ts",
  ".tsx": "tsx",
  ".jsx": "jsx",
  ".js": "jsx",
  ".mjs": "js",
  ".cjs": "js",
};
const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&");

/**
 * Imports of binary files (the default export is a Uint8Array; of `.wasm` a WebAssembly.Module, with the instance's exports by name
 * where it can be made) and reading of files beside a module. The files go into the artifact as they are.
 */
export function assetsPlugin(options: AssetsOptions): Plugin {
  const { root, found } = options;
  const pathOf = (file: string): string => relative(root, file).replaceAll(sep, "/");
  const kindOf: PathKind = (path) => {
    const info = statSync(join(root, path), { throwIfNoEntry: false });
    return info?.isFile() ? "file" : info?.isDirectory() ? "folder" : undefined;
  };
  return {
    name: "assets",
    setup(build) {
      build.onLoad({ filter: BINARY, namespace: "file" }, async (args): Promise<OnLoadResult | undefined> => {
        const path = pathOf(args.path);
        const type = args.with["type"];
        if (path.startsWith("..") || type === "text") return undefined;
        found.read.add(path);
        if (path.endsWith(".wasm") && type !== "bytes") {
          return {
            contents: wasmModule(`./${FILES_FOLDER}/${path}`, await readFile(args.path)),
            loader: "js",
          };
        }
        return { contents: bytesModule(`./${FILES_FOLDER}/${path}`), loader: "js" };
      });
      if (options.referring.length === 0) return;
      const filter = new RegExp(
        `^(?:${options.referring.map((path) => escaped(join(root, path))).join("|")})$`,
      );
      build.onLoad({ filter, namespace: "file" }, async (args): Promise<OnLoadResult | undefined> => {
        const loader = LOADERS[extname(args.path)];
        if (!loader || args.with["type"] !== undefined) return undefined;
        const rewritten = rewriteFileReferences(await readFile(args.path, "utf8"), pathOf(args.path), kindOf);
        for (const path of rewritten.read) found.read.add(path);
        for (const path of rewritten.workers) found.workers.add(path);
        return { contents: rewritten.code, loader };
      });
    },
  };
}

const bytesModule = (path: string): string =>
  `import { readFileSync } from "node:fs";\nexport default new Uint8Array(readFileSync(new URL(${JSON.stringify(path)}, import.meta.url)));`;
