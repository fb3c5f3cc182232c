import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Life } from "./messages.ts";

let bootId: string | undefined;

function readBootId(): string {
  bootId ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return bootId;
}

/** Fields of /proc/<pid>/stat after the command name; undefined when there is no such process or no /proc. */
export function readProcStat(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

/**
 * A mark that tells the process `pid` from any other that ever had or will have this pid; undefined when it is not running
 * (a zombie counts as not running).
 */
export function processStartMark(pid: number): string | undefined {
  if (process.platform === "linux") {
    const fields = readProcStat(pid);
    if (!fields || fields[0] === "Z" || fields[0] === "X") return undefined;
    return `${readBootId()}:${fields[19] ?? ""}`;
  }
  try {
    const started = execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).trim();
    return started === "" ? undefined : started;
  } catch {
    return undefined;
  }
}

/** Whether the process named by `life` still runs. Cheap enough to be asked several times a second on Linux. */
export function isAlive(life: Life): boolean {
  if (process.platform === "linux") return processStartMark(life.pid) === life.startMark;
  try {
    process.kill(life.pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** Identity of a running process. Throws when it does not run. */
export function identify(pid: number): Life {
  const startMark = processStartMark(pid);
  if (startMark === undefined) throw new Error(`Cannot follow process ${pid}: it is not running`);
  return { pid, startMark };
}

/** Sends `signal` to a whole process group; false when the group is gone. */
export function signalGroup(pgid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pgid, signal);
    return true;
  } catch {
    return false;
  }
}
