import { readFileSync } from "node:fs";

/** A file of a process under /proc; empty once the process is gone. */
export function procEntry(pid: number | string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}
