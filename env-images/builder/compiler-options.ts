import { join } from "node:path";
import type { BuildOptions, TsconfigRaw } from "esbuild";
import type { Project } from "./project.ts";

/** JSX modes of `deno.json` and `tsconfig.json` that leave JSX in the output, or that the bundler does not know. */
const KEPT_JSX = new Set(["preserve", "react-native", "precompile"]);

/**
 * How TypeScript and JSX are read: by `deno.json`'s compilerOptions, else by `tsconfig.json`, else by nothing at all,
 * since a file above the source must never have a say.
 */
export function compilerOptions(project: Project): Pick<BuildOptions, "tsconfig" | "tsconfigRaw" | "jsx"> {
  const options = project.denoConfig?.compilerOptions;
  if (options) {
    const jsx = options["jsx"];
    const raw: TsconfigRaw = {
      compilerOptions: { ...options, ...(KEPT_JSX.has(String(jsx)) ? { jsx: "react-jsx" } : {}) },
    };
    return { tsconfigRaw: raw };
  }
  if (project.tsconfig !== undefined) return { tsconfig: join(project.root, project.tsconfig) };
  return { tsconfigRaw: {} };
}
