/**
 * Builds that run now.
 *
 * Invariants
 * B1. At most one build per package runs; a build of other inputs aborts the one before it.
 * B2. At most `maxConcurrent` builds run at once; the others wait in the order in which they came.
 * B3. A finished job stays until its package's reconcile has taken the outcome, so that no outcome is lost and none is used twice.
 */
import type { BuildOutcome } from "../../api/build.ts";
import { BuildLog } from "./build-log.ts";

/** A build's outcome and the sha256 of the source that it was made from ("" when the source could not be read). */
export type Finished = BuildOutcome & { readonly sourceDigest: string };
export type Build = (hooks: { onLog: (line: string) => void; signal: AbortSignal }) => Promise<Finished>;

export interface BuildJob {
  readonly inputs: string;
  readonly log: BuildLog;
  /** Set when it is over. */
  outcome: Finished | undefined;
  readonly abort: AbortController;
  /** Writes of the job's progress, one after the other; the final write comes after them. */
  progress: Promise<void>;
}

export interface BuildJobs {
  get(key: string): BuildJob | undefined;
  /** Starts a build unless one of the same inputs runs or waits to be taken. `build` is called when its turn comes. */
  start(key: string, inputs: string, build: Build): BuildJob;
  /** Forgets a finished job; aborts a running one. */
  drop(key: string): void;
  stop(): Promise<void>;
  readonly running: number;
}

export interface BuildJobsOptions {
  maxConcurrent: number;
  /** The log grew; called at most each `logIntervalMs` per job, and before the end never after `onFinished`. */
  onLog: (key: string, job: BuildJob) => void;
  logIntervalMs: number;
  onFinished: (key: string) => void;
}

export function createBuildJobs(options: BuildJobsOptions): BuildJobs {
  const jobs = new Map<string, BuildJob>();
  const waiting: (() => void)[] = [];
  const active = new Set<Promise<void>>();
  let free = options.maxConcurrent;

  const turn = async (): Promise<void> => {
    if (free > 0) {
      free--;
      return;
    }
    await new Promise<void>((resolve) => waiting.push(resolve));
  };
  const leave = () => {
    const next = waiting.shift();
    if (next) next();
    else free++;
  };

  const run = async (key: string, job: BuildJob, build: Build): Promise<void> => {
    await turn();
    const live = throttled(options.logIntervalMs, () => options.onLog(key, job));
    try {
      if (job.abort.signal.aborted) return;
      const given = build({
        signal: job.abort.signal,
        onLog: (line) => {
          job.log.append(line);
          live.touch();
        },
      });
      // A builder that does not heed the signal must not keep the slot.
      job.outcome = await Promise.race([given, whenAborted(job.abort.signal)]);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      job.outcome = { outcome: "failed", fault: "platform", message, sourceDigest: "" };
    } finally {
      live.stop();
      leave();
    }
    if (jobs.get(key) === job) options.onFinished(key);
  };

  const drop = (key: string) => {
    jobs.get(key)?.abort.abort();
    jobs.delete(key);
  };

  return {
    get: (key) => jobs.get(key),
    start: (key, inputs, build) => {
      const present = jobs.get(key);
      if (present?.inputs === inputs) return present;
      drop(key);
      const job: BuildJob = {
        inputs,
        log: new BuildLog(),
        outcome: undefined,
        abort: new AbortController(),
        progress: Promise.resolve(),
      };
      jobs.set(key, job);
      const running = run(key, job, build).finally(() => active.delete(running));
      active.add(running);
      return job;
    },
    drop,
    stop: async () => {
      for (const key of jobs.keys()) drop(key);
      for (const wake of waiting.splice(0)) wake();
      await Promise.allSettled(active);
    },
    get running() {
      return options.maxConcurrent - free;
    },
  };
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const abort = () => reject(new Error("The build was aborted"));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}

/** Calls `action` at most once per interval while touched, the first time at once. */
function throttled(intervalMs: number, action: () => void): { touch(): void; stop(): void } {
  let timer: NodeJS.Timeout | undefined;
  let lastAt = -Infinity;
  return {
    touch: () => {
      if (timer) return;
      const waitMs = Math.max(0, lastAt + intervalMs - performance.now());
      timer = setTimeout(() => {
        timer = undefined;
        lastAt = performance.now();
        action();
      }, waitMs);
    },
    stop: () => clearTimeout(timer),
  };
}
