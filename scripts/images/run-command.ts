import { spawn } from "node:child_process";

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a command to its end and gives its stdout. Throws with the end of its output when it fails. */
export function runCommand(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-8_000)));
    child.once("error", (cause) => reject(new Error(`Cannot run "${command}": ${cause.message}`, { cause })));
    child.once("close", (code) => {
      if (code === 0) return resolve(stdout);
      const output = (stderr.trim() || stdout.trim()).slice(-4_000);
      reject(new Error(`"${[command, ...args].join(" ")}" ended with ${code}:\n${output}`));
    });
  });
}

/** Whether a program can be started at all. */
export const hasCommand = (command: string): Promise<boolean> =>
  runCommand(command, ["--version"]).then(
    () => true,
    () => false,
  );
