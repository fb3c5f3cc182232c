import { readdirSync, readFileSync } from "node:fs";

/** Processes of this machine whose command line contains all of `parts`. */
export function processesWith(...parts: string[]): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        return parts.every((part) => line.includes(part));
      } catch {
        return false;
      }
    })
    .map(Number)
    .filter((pid) => pid !== process.pid);
}

/** The one process whose command line contains all of `parts`. */
export function processWith(...parts: string[]): number {
  const [pid, ...more] = processesWith(...parts);
  if (pid === undefined || more.length > 0)
    throw new Error(
      `Expected one process with ${parts.join(" ")}, found ${more.length + (pid === undefined ? 0 : 1)}`,
    );
  return pid;
}
