import { transform } from "esbuild";

/** Starts the bundler's own process, so that the first build does not wait for it. */
export async function warmBundler(): Promise<void> {
  await transform("export const warm: boolean = true", { loader: "ts" });
}
