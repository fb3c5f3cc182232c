import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gatherWrites } from "../../net/gather-writes.ts";
import type { HostExit, HostLimits } from "./host-process.ts";

export interface DenoPlace {
  /** The `deno` program. */
  readonly deno: string;
  /** Folder that Deno may keep its own files in. */
  readonly denoDir: string;
}

/** The process of a definition host, and the bytes that go in and out of it. */
export interface DenoChild {
  readonly pid: number | undefined;
  write(bytes: Buffer): void;
  /** Holds back what it says, until told otherwise. */
  holdBack(full: boolean): void;
  /** Watches its memory while it works. */
  watch(working: boolean): void;
  kill(why: HostExit["kind"], detail: string): void;
}

export interface DenoChildOptions extends DenoPlace, HostLimits {
  readonly onBytes: (bytes: Buffer) => void;
  /** Called once, when it has gone, by itself or killed. */
  readonly onExit: (why: HostExit) => void;
}

const PROGRAM = programFile();
const MEMORY_POLL_MS = 10;
const PAGE_BYTES = 4096;
const STDERR_KEPT = 4096;

/** Everything is denied, module loading included: "no permissions" alone would still let it fetch modules. */
const FLAGS = [
  "--no-prompt",
  "--no-config",
  "--no-lock",
  "--no-remote",
  "--no-npm",
  "--cached-only",
  "--deny-import",
  "--no-code-cache",
];

/** Starts a Deno process without any permission and with an almost empty environment. */
export function startDenoChild(options: DenoChildOptions): DenoChild {
  const child: ChildProcessWithoutNullStreams = spawn(
    options.deno,
    ["run", ...FLAGS, `--v8-flags=--max-old-space-size=${options.heapMb}`, PROGRAM],
    { env: { DENO_DIR: options.denoDir, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" }, stdio: "pipe" },
  );
  let reason: HostExit | undefined;
  let stderr = "";
  const kill = (kind: HostExit["kind"], detail: string): void => {
    reason ??= { kind, detail };
    child.kill("SIGKILL");
  };
  child.stdout.on("data", (chunk: Buffer) => {
    if (reason === undefined) options.onBytes(chunk);
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr = (stderr + chunk.toString("utf8")).slice(-STDERR_KEPT);
  });
  // A pipe to a process that is dying: its exit says what there is to say.
  child.stdin.on("error", () => undefined);
  const memory = memoryGuard(
    () => child.pid,
    options.memoryMb,
    (megabytes) => kill("memory", `it took ${megabytes} MB of memory`),
  );
  let exited = false;
  const exit = (why: string): void => {
    if (exited) return;
    exited = true;
    memory.stop();
    const outOfHeap = /out of memory|Fatal JavaScript/i.test(stderr);
    options.onExit(
      reason ??
        (outOfHeap
          ? { kind: "memory", detail: `its heap is limited to ${options.heapMb} MB` }
          : { kind: "gone", detail: `${why}${lastLine(stderr)}` }),
    );
  };
  child.on("error", (error) => exit(`it cannot be started: ${error.message}`));
  child.on("close", (code, signal) => exit(`it ended with ${signal ?? code ?? "no code"}`));
  return {
    pid: child.pid,
    write: (bytes) => {
      gatherWrites(child.stdin);
      child.stdin.write(bytes);
    },
    holdBack: (full) => void (full ? child.stdout.pause() : child.stdout.resume()),
    watch: (working) => (working ? memory.start() : memory.stop()),
    kill,
  };
}

const lastLine = (text: string): string => {
  const line = text.trim().split("\n").at(-1) ?? "";
  return line === "" ? "" : ` (${line.slice(0, 200)})`;
};

function memoryGuard(
  pid: () => number | undefined,
  limitMb: number,
  onOver: (megabytes: number) => void,
): { start: () => void; stop: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    const megabytes = residentMb(pid());
    if (megabytes > limitMb) onOver(megabytes);
  };
  return {
    start: () => {
      timer ??= setInterval(look, MEMORY_POLL_MS).unref();
    },
    stop: () => {
      clearInterval(timer);
      timer = undefined;
    },
  };
}

/** Resident memory of a process; 0 where the system does not tell. */
export const residentMb = (pid: number | undefined): number => pagesMb(pid, ([, resident = 0]) => resident);

/** What of it no file gives, which is not shared with other processes of the same program. */
export const ownMb = (pid: number | undefined): number =>
  pagesMb(pid, ([, resident = 0, shared = 0]) => resident - shared);

function pagesMb(pid: number | undefined, pagesOf: (statm: readonly number[]) => number): number {
  if (pid === undefined) return 0;
  try {
    const statm = readFileSync(`/proc/${pid}/statm`, "utf8").split(" ").map(Number);
    return Math.round((pagesOf(statm) * PAGE_BYTES) / 2 ** 20);
  } catch {
    return 0;
  }
}

/** It lies at the same place below the platform's root in a checkout, in the npm package and in the image, where this code is part of a bundle. */
function programFile(): string {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const inRoot = join("workflows", "host", `program.${extension}`);
  for (let folder = import.meta.dirname; folder !== dirname(folder); folder = dirname(folder))
    if (existsSync(join(folder, inRoot))) return join(folder, inRoot);
  return join(import.meta.dirname, `program.${extension}`);
}
