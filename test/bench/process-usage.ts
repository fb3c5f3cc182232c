import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { getPriority } from "node:os";

/** CPU time in milliseconds and memory in KiB that a process has used, from /proc. Linux only. */
const TICKS_PER_SECOND = 100;

export interface CpuTime {
  readonly userMs: number;
  readonly systemMs: number;
}

/** User and system time of a process since its start. A tick is 10 ms: measure over seconds. */
export function cpuTime(pid: number): CpuTime {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
  const ms = (at: number): number => (Number(fields[at]) * 1000) / TICKS_PER_SECOND;
  return { userMs: ms(11), systemMs: ms(12) };
}

export const totalMs = ({ userMs, systemMs }: CpuTime): number => userMs + systemMs;

export interface Memory {
  readonly rssKib: number;
  /** Shared pages counted in parts. */
  readonly pssKib: number;
  /** Pages that nobody shares: what ends with the process. */
  readonly privateKib: number;
}

export function memory(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kib = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? Number.NaN);
  return {
    rssKib: kib("Rss"),
    pssKib: kib("Pss"),
    privateKib: kib("Private_Clean") + kib("Private_Dirty"),
  };
}

export const mib = (kib: number): string => (kib / 1024).toFixed(1);

/** The processes that descend from `pid`, with their command lines. */
export function descendants(pid: number): { pid: number; command: string }[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const parent = Number(readFileSync(`/proc/${name}/stat`, "utf8").split(") ").at(-1)?.split(" ")[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // It ended meanwhile.
    }
  }
  const found: { pid: number; command: string }[] = [];
  const visit = (of: number): void => {
    for (const child of children.get(of) ?? []) {
      try {
        found.push({
          pid: child,
          command: readFileSync(`/proc/${child}/cmdline`, "utf8").replaceAll("\0", " ").trim(),
        });
      } catch {
        continue;
      }
      visit(child);
    }
  };
  visit(pid);
  return found;
}

/**
 * Gives the sessions of processes the priority of this process. Where Linux schedules by session (autogroup), a niceness counts only
 * within one, and every pod has a session of its own.
 */
export function sharePriority(pids: readonly number[]): void {
  const priority = getPriority();
  for (const pid of [process.pid, ...pids]) {
    try {
      writeFileSync(`/proc/${pid}/autogroup`, String(priority));
    } catch {
      // Not root, no autogroups, or ended meanwhile.
    }
  }
}
