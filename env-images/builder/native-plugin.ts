import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { OnResolveArgs, Plugin } from "esbuild";
import type { NativePackage } from "./native-packages.ts";

const REPLACEMENTS: Readonly<Record<string, string>> = {
  sharp: '"@jsquash/jpeg", "@jsquash/png" and the like, or "@resvg/resvg-wasm" for SVG',
  canvas: '"@resvg/resvg-wasm"',
  "@napi-rs/canvas": '"@resvg/resvg-wasm"',
  "@resvg/resvg-js": '"@resvg/resvg-wasm"',
  bcrypt: '"bcryptjs", or scrypt of "node:crypto"',
  argon2: '"hash-wasm"',
  sqlite3: '"node:sqlite"',
  "better-sqlite3": '"node:sqlite"',
  esbuild: '"esbuild-wasm"',
  "@swc/core": '"@swc/wasm"',
  rollup: '"@rollup/wasm-node"',
  lightningcss: '"lightningcss-wasm"',
  snappy: '"snappyjs"',
  "node-sass": '"sass"',
};

const STUB = "missing-native";
const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&");

/**
 * Refuses packages that load machine code, with what to use instead, unless the importer can do without
 * (it lists them as optional): then they are as if not installed.
 */
export function nativePlugin(native: readonly NativePackage[]): Plugin {
  return {
    name: "native",
    setup(build) {
      build.onResolve({ filter: /\.node$/ }, (args) =>
        args.kind === "entry-point"
          ? undefined
          : {
              errors: [
                {
                  text: `Cannot bundle native addon "${args.path}": functions run without machine code of their own`,
                },
              ],
            },
      );
      if (native.length === 0) return;
      const names = new Map(native.map((one) => [one.name, one]));
      const filter = new RegExp(`^(?:${native.map(({ name }) => escaped(name)).join("|")})(?:/|$)`);
      build.onResolve({ filter }, async (args) => {
        const name = /^(?:@[^/]+\/)?[^/]+/.exec(args.path)?.[0] ?? "";
        const found = names.get(name);
        if (!found || args.path.endsWith("/package.json")) return undefined;
        if (await isOptional(args, name)) return { path: args.path, namespace: STUB };
        const replacement = REPLACEMENTS[name];
        const advice =
          replacement === undefined
            ? "use a package of plain JavaScript or WebAssembly"
            : `use ${replacement}`;
        return {
          errors: [
            {
              text: `Package "${name}" is a native addon (${found.sign}), which functions cannot load; ${advice}`,
            },
          ],
        };
      });
      build.onLoad({ filter: /.*/, namespace: STUB }, (args) => ({
        contents: `throw Object.assign(new Error(${JSON.stringify(`Cannot find module '${args.path}': native addons are left out`)}), { code: "MODULE_NOT_FOUND" });`,
        loader: "js",
      }));
    },
  };
}

/** Whether the importing package declares that it works without. */
async function isOptional(args: OnResolveArgs, name: string): Promise<boolean> {
  if (!args.importer.includes("node_modules")) return false;
  for (let folder = dirname(args.importer); folder.includes("node_modules"); folder = dirname(folder)) {
    const text = await readFile(join(folder, "package.json"), "utf8").catch(() => undefined);
    if (text === undefined) continue;
    const manifest: unknown = JSON.parse(text);
    if (typeof manifest !== "object" || manifest === null || !("name" in manifest)) continue;
    return has(manifest, "optionalDependencies", name) || has(manifest, "peerDependenciesMeta", name);
  }
  return false;
}

function has(manifest: object, field: string, name: string): boolean {
  const value: unknown = Object.getOwnPropertyDescriptor(manifest, field)?.value;
  return typeof value === "object" && value !== null && name in value;
}
