/**
 * The words between the kubelet and the shim: one JSON object a line over a unix socket. The kubelet asks with a `seq`,
 * the shim answers with the same `seq`; notices come without one.
 */

/** How to start one process. All paths are absolute; `env` is the whole environment. */
export interface RunSpec {
  /** Unique for the life of the shim: `<pod uid>/<container>/<attempt>`. */
  id: string;
  argv: string[];
  env: Record<string, string>;
  cwd: string;
  /** The CRI log file; its folder is made when missing. */
  logFile: string;
  /** Where pid and start time are noted, for cleaning up after a death of the shim. */
  pidFile: string;
  /** Bytes of private memory of the whole process group; absent = no limit. */
  memoryLimitBytes?: number;
  /** A log file is turned over at this size; one older file is kept. */
  maxLogBytes: number;
  /** Kept with the process and given back in its record. */
  labels: Record<string, string>;
}

/** How a process ended. */
export interface ExitRecord {
  /** 128 + signal number when a signal ended it. */
  exitCode: number;
  /** Signal number, 0 when none. */
  signal: number;
  oomKilled: boolean;
  finishedAtMs: number;
}

/** What the shim knows of one process. */
export interface ProcessRecord {
  id: string;
  pid: number;
  startedAtMs: number;
  labels: Record<string, string>;
  exit?: ExitRecord;
}

export interface ExecSpec {
  argv: string[];
  env: Record<string, string>;
  cwd: string;
  timeoutMs: number;
}

export interface ExecResult {
  /** -1 when it ran out of time. */
  exitCode: number;
  /** The first 4 KiB of stdout and stderr. */
  output: string;
}

export type ShimRequest =
  | { seq: number; op: "hello" }
  | { seq: number; op: "run"; spec: RunSpec }
  | { seq: number; op: "signal"; id: string; signal: "SIGTERM" | "SIGKILL" }
  | { seq: number; op: "exec"; spec: ExecSpec }
  | { seq: number; op: "forget"; id: string }
  | { seq: number; op: "shutdown" };

/** Whose death ends the shim and every process it runs. */
export interface Life {
  pid: number;
  /** What tells this process from a later one with the same pid; "" where the system does not say. */
  startMark: string;
}

export interface Hello {
  pid: number;
  life: Life;
  processes: ProcessRecord[];
}

export type ShimReply =
  | { seq: number; ok: true; hello?: Hello; process?: ProcessRecord; exec?: ExecResult }
  | { seq: number; ok: false; error: string };

export function isRequest(message: unknown): message is ShimRequest {
  return isNumbered(message) && "op" in message && typeof message.op === "string";
}

export function isReply(message: unknown): message is ShimReply {
  return isNumbered(message) && "ok" in message && typeof message.ok === "boolean";
}

export function isNotice(message: unknown): message is ShimNotice {
  return (
    typeof message === "object" && message !== null && "notice" in message && message.notice === "exited"
  );
}

function isNumbered(message: unknown): message is { seq: number } {
  return (
    typeof message === "object" && message !== null && "seq" in message && typeof message.seq === "number"
  );
}

export type ShimNotice = { notice: "exited"; id: string; exit: ExitRecord };
