import { readdirSync } from "node:fs";
import { procEntry } from "../proc-entry.ts";

/** Processes of this machine whose command line contains all of `parts`. */
export function processesWith(...parts: string[]): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      const line = procEntry(pid, "cmdline").replaceAll("\0", " ");
      return line !== "" && parts.every((part) => line.includes(part));
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
