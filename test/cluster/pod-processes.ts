import { readdirSync } from "node:fs";
import { procEntry } from "../proc-entry.ts";

/** Processes of a pod's containers on this machine's own node, told by their cgroup; without the sandbox's own. */
export function podProcesses(podUid: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && procEntry(name, "cgroup").includes(podUid))
    .filter((pid) => !procEntry(pid, "cmdline").startsWith("/bin/busybox"))
    .map(Number);
}
