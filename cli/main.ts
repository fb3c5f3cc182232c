import { onStopSignal } from "../net/stop-signals.ts";
import { run } from "./run.ts";

const stopping = new AbortController();
onStopSignal(
  () => stopping.abort(),
  () => process.exit(130),
);
// A reader that leaves early (`isotope fn logs | head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
});

process.exitCode = await run(process.argv.slice(2), {
  cwd: process.cwd(),
  env: process.env,
  stdin: process.stdin,
  interactive: process.stdout.isTTY,
  signal: stopping.signal,
  write: (text) => void process.stdout.write(text),
  writeError: (text) => void process.stderr.write(text),
});
// Keep-alive connections and watches would hold the process: the command is over.
process.stdout.write("", () => process.exit());
