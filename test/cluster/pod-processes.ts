import { readdirSync, readFileSync } from "node:fs";

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Ended since.
    return "";
  }
};

/** Processes of a pod's containers on this machine's own node, told by their cgroup; without the sandbox's own. */
export function podProcesses(podUid: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && read(`/proc/${name}/cgroup`).includes(podUid))
    .filter((pid) => !read(`/proc/${pid}/cmdline`).startsWith("/bin/busybox"))
    .map(Number);
}
