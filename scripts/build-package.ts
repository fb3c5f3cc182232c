import { execFileSync } from "node:child_process";
import { cpSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";

/**
 * Makes `dist/` for `npm pack`: the platform as JavaScript (Node strips no types under node_modules), the SDK's types, and the files that the program
 * reads beside its code.
 */
const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const tsc = (...args: string[]): void => {
  execFileSync(join(root, "node_modules", ".bin", "tsc"), args, { cwd: root, stdio: "inherit" });
};

rmSync(dist, { recursive: true, force: true });
tsc("-p", "tsconfig.build.json");
if (existsSync(join(root, "sdk"))) tsc("-p", "tsconfig.sdk.json");
for (const name of ["charts/isotope/crds", "cli/template", "package.json"]) cpSync(join(root, name), join(dist, name), { recursive: true });
