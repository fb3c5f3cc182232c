import { execFileSync } from "node:child_process";
import { cpSync, globSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

/**
 * Makes `dist/` for `npm pack`: the platform as JavaScript (Node strips no types under node_modules), the SDK's types, and the files that the program
 * reads beside its code.
 */
const CODE = [
  "api",
  "kube",
  "net",
  "localkube",
  "controller",
  "engine",
  "workflows",
  "sdk",
  "cli",
  "local",
  "env-images",
];
const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const tsc = (...args: string[]): void => {
  execFileSync(join(root, "node_modules", ".bin", "tsc"), args, { cwd: root, stdio: "inherit" });
};
const copy = (name: string): void => {
  mkdirSync(dirname(join(dist, name)), { recursive: true });
  cpSync(join(root, name), join(dist, name), { recursive: true });
};

rmSync(dist, { recursive: true, force: true });
tsc("-p", "tsconfig.build.json");
tsc("-p", "tsconfig.sdk.json");
for (const folder of CODE) {
  for (const name of globSync(`${folder}/**/*.*`, {
    cwd: root,
    exclude: ["**/fixtures/**", "cli/template/**"],
  }))
    if (!/\.(ts|md)$/.test(name)) copy(name);
}
for (const name of ["charts/isotope/files/crds", "cli/template", "package.json"]) copy(name);
