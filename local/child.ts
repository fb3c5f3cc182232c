import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, renameSync, statSync } from "node:fs";

/**
 * A process of the platform, kept running.
 *
 * Invariants:
 * 1. At most one process per child runs at a time.
 * 2. A process that ends without `stop()` is started again: at once the first time, then with back-off up to 10 s, reset after
 *    it has run for 30 s.
 * 3. After `stop()` has resolved, no process of the child runs and none will.
 * 4. On Linux the kernel kills the process when the supervisor dies, however it dies.
 * 5. Ctrl-C in the terminal does not reach the process: only `stop()` ends it, in its turn.
 */
export interface ChildSpec {
  name: string;
  command: string;
  args: string[];
  env: Record<string, string>;
  logFile: string;
  /** How long it may take to end after SIGTERM. */
  graceMs: number;
}

export interface Child {
  readonly name: string;
  readonly pid: number | undefined;
  start(): void;
  stop(): Promise<void>;
}

const FIRST_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 10_000;
const STEADY_AFTER_MS = 30_000;
const MAX_LOG_BYTES = 16 * 1024 * 1024;
const SETPRIV = ["/usr/bin/setpriv", "/bin/setpriv"].find(
  (path) => process.platform === "linux" && existsSync(path),
);

/** Arguments that make the kernel kill the process with its parent, where the system can. */
export const withParentDeath = (command: string, args: string[]): [string, string[]] =>
  SETPRIV ? [SETPRIV, ["--pdeathsig", "KILL", "--", command, ...args]] : [command, args];

function openLog(path: string): number {
  if (existsSync(path) && statSync(path).size > MAX_LOG_BYTES) renameSync(path, `${path}.1`);
  return openSync(path, "a", 0o600);
}

export function superviseChild(spec: ChildSpec, onExit: (name: string, how: string) => void): Child {
  let running: ChildProcess | undefined;
  let stopping = false;
  let backoffMs = 0;
  let restart: NodeJS.Timeout | undefined;
  let ended: (() => void) | undefined;

  const launch = (): void => {
    if (stopping) return;
    const startedAt = performance.now();
    const log = openLog(spec.logFile);
    const [command, args] = withParentDeath(spec.command, spec.args);
    const child = spawn(command, args, {
      stdio: ["ignore", log, log],
      env: spec.env,
      detached: true,
    });
    closeSync(log);
    running = child;
    const finished = (how: string): void => {
      if (running !== child) return;
      running = undefined;
      ended?.();
      if (stopping) return;
      backoffMs =
        performance.now() - startedAt > STEADY_AFTER_MS
          ? 0
          : Math.min(Math.max(backoffMs * 2, FIRST_BACKOFF_MS), MAX_BACKOFF_MS);
      onExit(spec.name, how);
      restart = setTimeout(launch, backoffMs);
    };
    child.once("error", (error) => finished(`could not be started: ${error.message}`));
    child.once("exit", (code, signal) =>
      finished(signal ? `was ended by ${signal}` : `exited with code ${code}`),
    );
  };

  return {
    name: spec.name,
    get pid() {
      return running?.pid;
    },
    start: launch,
    async stop() {
      stopping = true;
      clearTimeout(restart);
      const child = running;
      if (!child) return;
      const gone = new Promise<void>((resolve) => {
        ended = resolve;
      });
      child.kill("SIGTERM");
      const kill = setTimeout(() => child.kill("SIGKILL"), spec.graceMs);
      await gone;
      clearTimeout(kill);
    },
  };
}
