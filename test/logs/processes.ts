import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { freePortBase } from "../e2e/free-ports.ts";

const ROOT = join(import.meta.dirname, "..", "..");

/** A process of the platform under test: its output is kept, it may be killed and started again with the same flags. */
export interface TestedProcess {
  readonly output: () => string;
  start(): Promise<void>;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/** `ready` says when a started process can be used. */
export function testedProcess(
  entry: string,
  flags: Readonly<Record<string, string | number | boolean>>,
  ready: () => Promise<boolean>,
): TestedProcess {
  let child: ChildProcess | undefined;
  let output = "";
  return {
    output: () => output,
    start: async () => {
      const args = [
        "--disable-warning=ExperimentalWarning",
        join(ROOT, `${entry}.ts`),
        ...argumentsOf(flags),
      ];
      const started = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
      for (const stream of [started.stdout, started.stderr])
        stream.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-20_000)));
      child = started;
      for (let attempt = 0; !(await ready().catch(() => false)); attempt += 1) {
        if (started.exitCode !== null || attempt > 1_200)
          throw new Error(`"${entry}" did not become ready: ${output}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    kill: async (signal = "SIGKILL") => {
      if (!child || child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.kill(signal);
      await ended;
    },
  };
}

/** Outside the range from which the kernel gives ports to others until the process listens, also while it is killed and started again. */
export const freePort = freePortBase;

export const answersOk = (url: string) => async (): Promise<boolean> => (await fetch(url)).ok;

const argumentsOf = (flags: Readonly<Record<string, string | number | boolean>>): string[] =>
  Object.entries(flags).flatMap(([name, value]) => [`--${name}`, ...(value === true ? [] : [String(value)])]);
