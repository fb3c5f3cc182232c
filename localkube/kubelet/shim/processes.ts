/**
 * Processes of containers.
 * 1. A process is the leader of its own session and group; its group dies with it.
 * 2. On Linux it dies with the shim (parent-death signal); elsewhere its pid file lets the next kubelet find it.
 * 3. Its exit is kept until it is forgotten by name, so that a kubelet that was away learns of it.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { accessSync, constants, mkdirSync, statSync, writeFileSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { type LogSink, openCriLog } from "./cri-log.ts";
import { makeMemorySweep } from "./memory-sweep.ts";
import type { ExecResult, ExecSpec, ExitRecord, ProcessRecord, RunSpec } from "./messages.ts";
import { processStartMark, signalGroup } from "./process-identity.ts";

const MEMORY_SWEEP_MS = 500;
/** How long output is awaited after the process is gone: a grandchild that left the group may hold the pipe. */
const DRAIN_MS = 1000;
const EXEC_OUTPUT_BYTES = 4096;

interface Entry {
  record: ProcessRecord;
  memoryLimitBytes: number | undefined;
  oomKilled: boolean;
}

export interface Processes {
  /** Starts a process. Throws when it cannot be started. */
  run(spec: RunSpec): ProcessRecord;
  /** Signals a process and its group; without effect when it is gone. */
  signal(id: string, signal: "SIGTERM" | "SIGKILL"): void;
  exec(spec: ExecSpec): Promise<ExecResult>;
  forget(id: string): void;
  list(): ProcessRecord[];
  killAll(): void;
}

function findExecutable(file: string, path: string, cwd: string): string | undefined {
  const candidates = file.includes("/")
    ? [join(file.startsWith("/") ? "" : cwd, file)]
    : path.split(delimiter).map((folder) => join(folder, file));
  return candidates.find((candidate) => {
    try {
      accessSync(candidate, constants.X_OK);
      return statSync(candidate).isFile();
    } catch {
      return false;
    }
  });
}

/** The words before a command that make the kernel kill it when this process dies; empty where there are none. */
function deathSignalPrefix(): string[] {
  if (process.platform !== "linux") return [];
  const setpriv = findExecutable("setpriv", process.env["PATH"] ?? "/usr/bin:/bin", "/");
  if (setpriv === undefined) return [];
  const prefix = [setpriv, "--pdeathsig", "KILL", "--"];
  const works = spawnSync(setpriv, ["--pdeathsig", "KILL", "--", process.execPath, "--version"]).status === 0;
  return works ? prefix : [];
}

function spawnGroup(prefix: string[], spec: Pick<RunSpec, "argv" | "env" | "cwd">): ChildProcess {
  const [file = "", ...args] = spec.argv;
  const executable = findExecutable(file, spec.env["PATH"] ?? "", spec.cwd);
  if (executable === undefined) throw new Error(`Cannot start "${file}": no such executable`);
  if (!statSync(spec.cwd, { throwIfNoEntry: false })?.isDirectory()) {
    throw new Error(`Cannot start "${file}": its working directory "${spec.cwd}" does not exist`);
  }
  const [command, ...rest] = [...prefix, executable];
  const options = {
    cwd: spec.cwd,
    env: spec.env,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"] as const,
  };
  return spawn(command, [...rest, ...args], { ...options, stdio: [...options.stdio] });
}

function exitRecord(code: number | null, signal: NodeJS.Signals | null, oomKilled: boolean): ExitRecord {
  const signalNumber = signal === null ? 0 : (osConstants.signals[signal] ?? 0);
  return { exitCode: code ?? 128 + signalNumber, signal: signalNumber, oomKilled, finishedAtMs: Date.now() };
}

function followExit(
  child: ChildProcess,
  pgid: number,
  log: LogSink,
  done: (code: number | null, signal: NodeJS.Signals | null) => void,
): void {
  child.stdout?.on("data", (chunk: Buffer) => log.write("stdout", chunk));
  child.stderr?.on("data", (chunk: Buffer) => log.write("stderr", chunk));
  child.once("exit", (code, signal) => {
    signalGroup(pgid, "SIGKILL");
    let ended = false;
    const end = (): void => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      log.close();
      child.stdout?.destroy();
      child.stderr?.destroy();
      done(code, signal);
    };
    const timer = setTimeout(end, DRAIN_MS);
    child.once("close", end);
  });
}

function exec(prefix: string[], spec: ExecSpec): Promise<ExecResult> {
  return new Promise((resolve, reject) => {
    const child = spawnGroup(prefix, spec);
    let output = "";
    const take = (chunk: Buffer): void => {
      if (output.length < EXEC_OUTPUT_BYTES)
        output = (output + chunk.toString("utf8")).slice(0, EXEC_OUTPUT_BYTES);
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL");
    }, spec.timeoutMs);
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL");
      // Its end may be known before its last words are read.
      const end = (): void => {
        clearTimeout(drained);
        child.stdout?.destroy();
        child.stderr?.destroy();
        resolve({ exitCode: timedOut ? -1 : exitRecord(code, signal, false).exitCode, output });
      };
      const drained = setTimeout(end, DRAIN_MS);
      child.once("close", end);
    });
  });
}

/** The table of running and ended processes. `onExit` is called once for every process that was started. */
export function makeProcesses(onExit: (id: string, exit: ExitRecord) => void): Processes {
  const prefix = deathSignalPrefix();
  const entries = new Map<string, Entry>();
  const sweep = makeMemorySweep();

  const sweepMemory = (): void => {
    const limits = new Map<number, number>();
    const byPid = new Map<number, Entry>();
    for (const entry of entries.values()) {
      if (entry.record.exit || entry.memoryLimitBytes === undefined) continue;
      limits.set(entry.record.pid, entry.memoryLimitBytes);
      byPid.set(entry.record.pid, entry);
    }
    for (const pgid of sweep.over(limits)) {
      const entry = byPid.get(pgid);
      if (entry) entry.oomKilled = true;
      signalGroup(pgid, "SIGKILL");
    }
  };
  setInterval(sweepMemory, MEMORY_SWEEP_MS).unref();

  const run = (spec: RunSpec): ProcessRecord => {
    const known = entries.get(spec.id);
    if (known) return known.record;
    const child = spawnGroup(prefix, spec);
    const pid = child.pid;
    child.on("error", () => {});
    if (pid === undefined)
      throw new Error(`Cannot start "${spec.argv[0] ?? ""}": the system refused to make a process`);
    const entry: Entry = {
      record: { id: spec.id, pid, startedAtMs: Date.now(), labels: spec.labels },
      memoryLimitBytes: spec.memoryLimitBytes,
      oomKilled: false,
    };
    entries.set(spec.id, entry);
    followExit(child, pid, openCriLog(spec.logFile, spec.maxLogBytes), (code, signal) => {
      entry.record.exit = exitRecord(code, signal, entry.oomKilled);
      onExit(spec.id, entry.record.exit);
    });
    mkdirSync(dirname(spec.pidFile), { recursive: true });
    writeFileSync(spec.pidFile, JSON.stringify({ pid, startMark: processStartMark(pid) ?? "" }));
    return entry.record;
  };

  return {
    run,
    signal(id, signal) {
      const entry = entries.get(id);
      if (entry && !entry.record.exit) signalGroup(entry.record.pid, signal);
    },
    exec: (spec) => exec(prefix, spec),
    forget(id) {
      if (entries.get(id)?.record.exit) entries.delete(id);
    },
    list: () => [...entries.values()].map((entry) => entry.record),
    killAll() {
      for (const entry of entries.values()) if (!entry.record.exit) signalGroup(entry.record.pid, "SIGKILL");
    },
  };
}
