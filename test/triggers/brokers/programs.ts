import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { installPackages } from "../../install-packages.ts";

/** Where a program is, if it is installed; directories of system programs are not on every PATH. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin"];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/**
 * Why a broker cannot be had on this machine, or undefined. On CI, what is missing is installed (Debian packages), and its absence is an error: there, no
 * broker is left out.
 * @param programs name → Debian package
 */
export function missingPrograms(programs: Readonly<Record<string, string>>): string | undefined {
  const missing = (): string[] => Object.keys(programs).filter((name) => findProgram(name) === undefined);
  if (missing().length === 0) return undefined;
  if (process.env["CI"] !== "true") return `not installed: ${missing().join(", ")}`;
  installPackages(missing().map((name) => programs[name] ?? name));
  if (missing().length > 0)
    throw new Error(`${missing().join(", ")} cannot be found, though installed by apt-get`);
  return undefined;
}
