import { readdirSync, readFileSync } from "node:fs";

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Ended since.
    return "";
  }
};

/** Processes of a pod on this machine's own node whose command line contains `part`; the pod is told by its cgroup. */
export function podProcesses(podUid: string, part: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && read(`/proc/${name}/cgroup`).includes(podUid))
    .filter((pid) => read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").includes(part))
    .map(Number);
}
