import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { run } from "../../cli/run.ts";

export interface CliResult {
  code: number;
  out: string;
  err: string;
}

/** Runs the CLI in this process. */
export async function runCli(
  args: string[],
  options: {
    cwd: string;
    stdin?: string | undefined;
    signal?: AbortSignal | undefined;
    onOut?: ((text: string) => void) | undefined;
    env?: Record<string, string | undefined>;
  },
): Promise<CliResult> {
  let out = "";
  let err = "";
  const stdin =
    options.stdin === undefined ? new PassThrough().end() : Readable.from([Buffer.from(options.stdin)]);
  const code = await run(args, {
    cwd: options.cwd,
    env: { ...process.env, ISOTOPE_STATE_DIR: join(options.cwd, "announced"), ...options.env },
    stdin,
    interactive: false,
    signal: options.signal ?? new AbortController().signal,
    write: (text) => {
      out += text;
      options.onOut?.(text);
    },
    writeError: (text) => {
      err += text;
    },
  });
  return { code, out, err };
}
