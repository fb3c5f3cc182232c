import { readFileSync } from "node:fs";

/**
 * Something that tells this run of a process from a later one under the same number: its start time in clock ticks on Linux,
 * nothing elsewhere. Undefined when no such process runs.
 */
export function processIdentity(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EPERM")) return undefined;
  }
  if (process.platform !== "linux") return "running";
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const state = fields[0];
    return state === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
