import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SERVER = join(import.meta.dirname, "server.py");
/** Debian's own python3. */
export const PYTHON = "/usr/bin/python3";

/** The Python runtime of the tests as a process: what a container of its image runs. */
export interface PythonRuntime {
  readonly process: ChildProcess;
  readonly root: string;
  readonly host: string;
  readonly port: number;
  /** All that it wrote. */
  output(): string;
  stop(): Promise<void>;
}

export async function startPython(args: readonly string[] = []): Promise<PythonRuntime> {
  const root = mkdtempSync(join(tmpdir(), "isotope-python-"));
  for (const name of ["userfunc", "secrets", "configs"]) mkdirSync(join(root, name));
  const host = "127.0.0.1";
  const child = spawn(
    PYTHON,
    [SERVER, "--host", host, "--port", "0", "--userfunc", join(root, "userfunc"), ...args],
    {
      env: {
        PATH: "/usr/bin:/bin",
        PYTHONDONTWRITEBYTECODE: "1",
        SECRETS_FOLDER: join(root, "secrets"),
        CONFIGS_FOLDER: join(root, "configs"),
      },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let output = "";
  const port = await new Promise<number>((resolve, reject) => {
    const read = (text: string) => {
      output += text;
      const found = /listens on (\d+)/.exec(output);
      if (found) resolve(Number(found[1]));
    };
    child.stdout.setEncoding("utf8").on("data", read);
    child.stderr.setEncoding("utf8").on("data", read);
    child.once("exit", () => reject(new Error(`The Python runtime ended: ${output}`)));
  });
  return {
    process: child,
    root,
    host,
    port,
    output: () => output,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGKILL");
        await once(child, "exit");
      }
      rmSync(root, { recursive: true, force: true });
    },
  };
}
