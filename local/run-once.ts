import { spawn } from "node:child_process";
import { modulePath, NODE_FLAGS, passedOn } from "./child-specs.ts";

/** Runs a program of the platform once. @throws {Error} with its output, when it fails. */
export async function runOnce(
  file: string,
  args: string[],
  env: Record<string, string>,
  signal: AbortSignal,
  onLine: (line: string) => void,
): Promise<void> {
  const child = spawn(process.execPath, [...NODE_FLAGS, modulePath(file), ...args], {
    env: { ...passedOn(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
    signal,
  });
  let output = "";
  let rest = "";
  const read = (chunk: Buffer): void => {
    output = (output + chunk.toString("utf8")).slice(-8192);
    const lines = (rest + chunk.toString("utf8")).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  };
  child.stdout.on("data", read);
  child.stderr.on("data", read);
  const code = await new Promise<number>((done, fail) => {
    child.once("exit", (status) => done(status ?? 1));
    child.once("error", fail);
  });
  if (code !== 0) throw new Error(`${file} failed: ${output.trim()}`);
}
