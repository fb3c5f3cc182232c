import { readdirSync, readFileSync } from "node:fs";
import { readProcStat } from "./process-identity.ts";

const PAGE_BYTES = 4096;
/** Members of a group are looked up once in so many sweeps; the sizes of known members in every one. */
const SWEEPS_PER_SCAN = 4;

/** Bytes of memory that belong to this process alone: resident pages less those shared with files, as a cgroup would charge. */
function privateBytes(pid: number): number {
  try {
    const [, resident = "0", shared = "0"] = readFileSync(`/proc/${pid}/statm`, "latin1").split(" ");
    return (Number(resident) - Number(shared)) * PAGE_BYTES;
  } catch {
    return 0;
  }
}

function scanGroups(pgids: ReadonlySet<number>): Map<number, number[]> {
  const members = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const pgid = Number(readProcStat(pid)?.[2]);
    if (!pgids.has(pgid)) continue;
    const list = members.get(pgid);
    if (list) list.push(pid);
    else members.set(pgid, [pid]);
  }
  return members;
}

export interface MemorySweep {
  /** Process groups over their limit. `limits`: group → bytes. */
  over(limits: ReadonlyMap<number, number>): number[];
}

/** Compares the memory of process groups with their limits. Linux only: elsewhere nothing is ever over its limit. */
export function makeMemorySweep(): MemorySweep {
  let members = new Map<number, number[]>();
  let sweeps = 0;
  return {
    over(limits) {
      if (process.platform !== "linux" || limits.size === 0) return [];
      const scanDue = sweeps++ % SWEEPS_PER_SCAN === 0;
      if (scanDue) members = scanGroups(new Set(limits.keys()));
      const result: number[] = [];
      for (const [pgid, limit] of limits) {
        let bytes = 0;
        for (const pid of members.get(pgid) ?? [pgid]) bytes += privateBytes(pid);
        if (bytes > limit) result.push(pgid);
      }
      return result;
    },
  };
}
