import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gatherWrites } from "../../net/gather-writes.ts";
import { frameOf, frameReader } from "./frame-reader.ts";
import { HostFrame, type HostRequest } from "./host-messages.ts";

export interface HostProcessOptions {
  /** The `deno` program. */
  readonly deno: string;
  /** Folder that Deno may keep its own files in. */
  readonly denoDir: string;
  /** Of the JavaScript heap. */
  readonly heapMb: number;
  /** Resident memory at which the process is killed: buffers are not part of the heap. */
  readonly memoryMb: number;
  readonly onFrame: (frame: HostFrame) => void;
  /** Called once, when it has gone, by itself or killed. */
  readonly onExit: (why: HostExit) => void;
}

/** `memory`: it took too much; `protocol`: it said what no host says; `stuck`: it did not answer; `killed`: it was not needed; `gone`: anything else. */
export interface HostExit {
  readonly kind: "memory" | "protocol" | "stuck" | "killed" | "gone";
  readonly detail: string;
}

/** One definition host: a Deno process without any permission. */
export interface HostProcess {
  readonly pid: number | undefined;
  send(request: HostRequest): void;
  /** Watches its memory while it works. */
  watch(working: boolean): void;
  kill(why: HostExit["kind"]): void;
}

const PROGRAM = programFile();
const MAX_FRAME = 192 * 1024 * 1024;
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

export function startHost(options: HostProcessOptions): HostProcess {
  const child: ChildProcessWithoutNullStreams = spawn(
    options.deno,
    ["run", ...FLAGS, `--v8-flags=--max-old-space-size=${options.heapMb}`, PROGRAM],
    { env: { DENO_DIR: options.denoDir, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" }, stdio: "pipe" },
  );
  let reason: HostExit["kind"] | undefined;
  let detail = "";
  let stderr = "";
  const end = (kind: HostExit["kind"], why: string): void => {
    reason ??= kind;
    detail ||= why;
    child.kill("SIGKILL");
  };
  const reader = frameReader(MAX_FRAME, (bytes) => {
    if (reason === undefined) options.onFrame(HostFrame.parse(JSON.parse(bytes.toString("utf8"))));
  });
  child.stdout.on("data", (chunk: Buffer) => {
    try {
      reader.push(chunk);
    } catch (error) {
      end("protocol", error instanceof Error ? error.message : String(error));
    }
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr = (stderr + chunk.toString("utf8")).slice(-STDERR_KEPT);
  });
  // A pipe to a process that is dying: its exit says what there is to say.
  child.stdin.on("error", () => undefined);
  const memory = memoryGuard(
    () => child.pid,
    options.memoryMb,
    (megabytes) => end("memory", `it took ${megabytes} MB of memory`),
  );
  let exited = false;
  const exit = (why: string): void => {
    if (exited) return;
    exited = true;
    memory.stop();
    const outOfHeap = /out of memory|Fatal JavaScript/i.test(stderr);
    options.onExit({
      kind: reason ?? (outOfHeap ? "memory" : "gone"),
      detail:
        detail || (outOfHeap ? `its heap is limited to ${options.heapMb} MB` : `${why}${lastLine(stderr)}`),
    });
  };
  child.on("error", (error) => exit(`it cannot be started: ${error.message}`));
  child.on("close", (code, signal) => exit(`it ended with ${signal ?? code ?? "no code"}`));
  return {
    pid: child.pid,
    send: (request) => {
      gatherWrites(child.stdin);
      child.stdin.write(frameOf(JSON.stringify(request)));
    },
    watch: (working) => (working ? memory.start() : memory.stop()),
    kill: (why) => end(why, "it was ended"),
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

/** 0 where the system does not tell. */
export function residentMb(pid: number | undefined): number {
  if (pid === undefined) return 0;
  try {
    const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
    return Math.round((pages * PAGE_BYTES) / 2 ** 20);
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
