import { spawn } from "node:child_process";
import { closeSync, existsSync, globSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { NETWORK } from "./layout.ts";
import { SYSTEM_PATH } from "./prerequisites.ts";

const STOP_MS = 5_000;
const POLL_MS = 20;

/** A program that runs on until it is stopped. Its pid and start time are kept in a file, its output in another. */
export interface Daemon {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** When a process was started, in clock ticks since boot: with the pid it names a process for ever. */
function startTime(pid: number): string | undefined {
  try {
    // The second field, the program's name, may hold spaces and brackets.
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[19];
  } catch {
    return undefined;
  }
}

/** Starts a daemon in the node's network namespace, in a session of its own. What was started is kept, so that it can be started again. */
export function startDaemon(state: string, daemon: Daemon): void {
  const { name, command, args, env } = daemon;
  writeFileSync(join(state, `${name}.daemon.json`), JSON.stringify(daemon));
  const log = openSync(join(state, `${name}.log`), "a");
  // nsenter, not `ip netns exec`: the latter remounts /sys and hides the cgroups from containerd and the kubelet.
  const child = spawn("nsenter", [`--net=/var/run/netns/${NETWORK.name}`, command, ...args], {
    detached: true,
    stdio: ["ignore", log, log],
    env: { ...process.env, ...env, PATH: `${env?.["PATH"] ?? ""}:${SYSTEM_PATH}` },
    cwd: state,
  });
  closeSync(log);
  child.once("error", (error) =>
    writeFileSync(join(state, `${name}.log`), `${error.message}\n`, { flag: "a" }),
  );
  child.unref();
  if (child.pid !== undefined)
    writeFileSync(join(state, `${name}.pid`), `${child.pid} ${startTime(child.pid)}`);
}

/** Starts a daemon again that was started before, as it was. */
export function restartDaemon(state: string, name: string): void {
  const daemon: Daemon = JSON.parse(readFileSync(join(state, `${name}.daemon.json`), "utf8"));
  startDaemon(state, daemon);
}

/** The pid of a daemon that runs. */
export function daemonPid(state: string, name: string): number | undefined {
  const file = join(state, `${name}.pid`);
  if (!existsSync(file)) return undefined;
  const [pid, started] = readFileSync(file, "utf8").split(" ");
  return startTime(Number(pid)) === started ? Number(pid) : undefined;
}

/** Names of the daemons that were started and have ended since. */
export const endedDaemons = (state: string): string[] =>
  globSync("*.pid", { cwd: state })
    .map((file) => basename(file, ".pid"))
    .filter((name) => daemonPid(state, name) === undefined);

const alive = (pid: number): boolean => {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1);
    return !fields?.startsWith("Z");
  } catch {
    return false;
  }
};

/** Ends processes: SIGTERM, and SIGKILL for those that have not gone in time. */
export async function endProcesses(
  pids: readonly number[],
  signal: NodeJS.Signals = "SIGTERM",
): Promise<void> {
  const send = (which: NodeJS.Signals): void => {
    for (const pid of pids) {
      try {
        process.kill(pid, which);
      } catch {
        // Gone already.
      }
    }
  };
  send(signal);
  const deadline = Date.now() + STOP_MS;
  while (pids.some(alive) && Date.now() < deadline) await sleep(POLL_MS);
  if (pids.some(alive)) send("SIGKILL");
  const end = Date.now() + STOP_MS;
  while (pids.some(alive) && Date.now() < end) await sleep(POLL_MS);
}

/** Stops daemons by name; those that do not run are passed over. */
export async function stopDaemons(
  state: string,
  names: readonly string[],
  signal: NodeJS.Signals = "SIGTERM",
): Promise<void> {
  const pids = names.map((name) => daemonPid(state, name)).filter((pid) => pid !== undefined);
  await endProcesses(pids, signal);
  for (const name of names) rmSync(join(state, `${name}.pid`), { force: true });
}

/** The last lines that a daemon wrote. */
export function logTail(state: string, name: string, lines = 15): string {
  const file = join(state, `${name}.log`);
  return existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n").slice(-lines).join("\n") : "";
}
