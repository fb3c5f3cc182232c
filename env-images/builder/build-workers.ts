import { type ChildProcess, fork } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import type { BuildRequest, BuildResult } from "../../api/wire/builder.ts";
import type { BuilderSettings } from "./builder-settings.ts";
import { groupMemoryBytes } from "./group-memory.ts";
import type { FromWorker, ToWorker } from "./worker-messages.ts";

/*
 * The processes that build. Invariants:
 * 1. A process runs one build at a time, and never more than `concurrency` exist.
 * 2. A build ends exactly once: by its result, its time limit, its memory limit, its caller's leaving or its process's death.
 * 3. Whatever ended a build other than by its result also ended its whole process group.
 * 4. A process gets no variable of ours but those it needs to reach a registry; never the pod token.
 */

export interface BuildJob {
  readonly request: BuildRequest;
  readonly sourcePath: string;
  readonly folder: string;
  readonly log: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface FinishedBuild {
  readonly result: BuildResult;
  readonly artifactPath: string | undefined;
}

/** The right to run one build. */
export interface BuildSlot {
  /** Runs the build and gives the slot back. Every failure is a result. */
  run(job: BuildJob): Promise<FinishedBuild>;
  /** Gives the slot back unused; does nothing once it has run. */
  release(): void;
}

export interface BuildWorkers {
  /** Undefined while as many builds run as are allowed. */
  reserve(): BuildSlot | undefined;
  /** Ends all processes. */
  close(): void;
}

const MEMORY_LOOK_MS = 250;
const PASSED_ON =
  /^(?:PATH|HOME|USER|LANG|LC_\w+|TMPDIR|TZ|SSL_CERT_FILE|SSL_CERT_DIR|NODE_EXTRA_CA_CERTS|https?_proxy|no_proxy|npm_config_.+)$/i;

interface Worker {
  readonly process: ChildProcess;
  readonly ready: Promise<void>;
  idleTimer: NodeJS.Timeout | undefined;
}

export function buildWorkers(settings: BuilderSettings): BuildWorkers {
  const idle: Worker[] = [];
  const all = new Set<Worker>();
  let running = 0;
  let closed = false;

  const end = (worker: Worker): void => {
    all.delete(worker);
    clearTimeout(worker.idleTimer);
    const at = idle.indexOf(worker);
    if (at >= 0) idle.splice(at, 1);
    killGroup(worker.process);
  };
  const take = (): Worker => {
    const worker = idle.pop() ?? startWorker(all);
    clearTimeout(worker.idleTimer);
    return worker;
  };
  const giveBack = (worker: Worker): void => {
    if (closed || worker.process.exitCode !== null || !worker.process.connected) return end(worker);
    worker.idleTimer = setTimeout(() => end(worker), settings.idleWorkerMs).unref();
    idle.push(worker);
  };

  const run = async (job: BuildJob): Promise<FinishedBuild> => {
    const worker = take();
    let reusable = false;
    try {
      await worker.ready;
      const finished = await watchBuild(worker.process, job, settings);
      reusable = finished.reusable;
      return finished;
    } catch (error) {
      return failed("platform", `The build process did not start: ${String(error)}`);
    } finally {
      if (reusable) giveBack(worker);
      else end(worker);
    }
  };

  giveBack(startWorker(all));
  return {
    reserve: () => {
      if (closed || running >= settings.concurrency) return undefined;
      running += 1;
      let held = true;
      const release = (): void => {
        if (held) running -= 1;
        held = false;
      };
      return { release, run: (job) => run(job).finally(release) };
    },
    close: () => {
      closed = true;
      for (const worker of all) end(worker);
    },
  };
}

function startWorker(all: Set<Worker>): Worker {
  // Compiled, the modules are JavaScript.
  const child = fork(fileURLToPath(new URL(`./worker${extname(import.meta.url)}`, import.meta.url)), [], {
    // A process group of its own, so that the bundler and npm end with it.
    detached: true,
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => PASSED_ON.test(name))),
    execArgv: ["--max-old-space-size=768", "--disable-warning=ExperimentalWarning"],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const ready = new Promise<void>((resolve, reject) => {
    child.once("message", () => resolve());
    child.once("error", reject);
    child.once("exit", (code, signal) => reject(new Error(`it ended with ${signal ?? `code ${code}`}`)));
  });
  // A process that dies unused is noticed when the next build takes it.
  ready.catch(() => {});
  const worker: Worker = { process: child, ready, idleTimer: undefined };
  all.add(worker);
  return worker;
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // The group is gone.
  }
}

const failed = (fault: "user" | "platform", message: string): FinishedBuild => ({
  result: { outcome: "failed", fault, message },
  artifactPath: undefined,
});

/** Sends one build to a ready process and waits for the first of its ends (invariant 2). */
function watchBuild(
  child: ChildProcess,
  job: BuildJob,
  settings: BuilderSettings,
): Promise<FinishedBuild & { reusable: boolean }> {
  const { request } = job;
  return new Promise((resolve) => {
    const finish = (finished: FinishedBuild, reusable: boolean): void => {
      clearTimeout(timer);
      clearInterval(memory);
      child.off("message", onMessage);
      child.off("exit", onExit);
      job.signal.removeEventListener("abort", onAbort);
      resolve({ ...finished, reusable });
    };
    const stop = (fault: "user" | "platform", message: string): void => {
      job.log(`error: ${message}`);
      finish(failed(fault, message), false);
    };
    const onMessage = (message: FromWorker): void => {
      if (message.kind === "log") job.log(message.line);
      if (message.kind === "done")
        finish({ result: message.result, artifactPath: message.artifactPath }, true);
    };
    const onExit = (code: number | null, signal: string | null): void =>
      stop("platform", `The build process ended unexpectedly (${signal ?? `code ${code}`})`);
    const onAbort = (): void => stop("platform", "The build was cancelled");
    const timer = setTimeout(
      () => stop("user", `The build took longer than ${request.timeoutMs} ms and was stopped`),
      request.timeoutMs,
    );
    const lookAtMemory = async (): Promise<void> => {
      const bytes = await groupMemoryBytes(child.pid ?? -1);
      if (bytes === undefined || bytes <= settings.maxMemoryBytes) return;
      const limit = Math.floor(settings.maxMemoryBytes / 2 ** 20);
      stop("user", `The build needs more than ${limit} MiB of memory and was stopped`);
    };
    const memory = setInterval(() => {
      void lookAtMemory();
    }, MEMORY_LOOK_MS);
    child.on("message", onMessage);
    child.once("exit", onExit);
    job.signal.addEventListener("abort", onAbort, { once: true });
    if (job.signal.aborted) return onAbort();
    if (!child.connected) return onExit(child.exitCode, child.signalCode);
    const message: ToWorker = { settings, request, sourcePath: job.sourcePath, folder: job.folder };
    child.send(message);
  });
}
