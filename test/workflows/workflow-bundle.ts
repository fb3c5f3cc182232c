import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { build } from "esbuild";

const ROOT = join(import.meta.dirname, "../..");

/** The Deno program of this checkout. */
export const DENO = join(
  dirname(createRequire(import.meta.url).resolve("deno/package.json")),
  "..",
  ".bin",
  "deno",
);

/** A workflow's module as the builder bundles it. */
export async function bundleWorkflow(source: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: source, loader: "ts", resolveDir: ROOT },
    bundle: true,
    format: "esm",
    platform: "node",
    conditions: ["deno", "node", "module"],
    alias: { "@isotope/platform/workflows": join(ROOT, "sdk/workflows.ts") },
    logLevel: "silent",
    write: false,
  });
  return outputFiles[0]?.text ?? "";
}
