import { flushCompileCache } from "node:module";
import { parseSettings, SettingsError, settingsHelp } from "../net/settings.ts";
import { onStopSignal } from "../net/stop-signals.ts";
import { startPlatform } from "./platform.ts";
import { SETTINGS } from "./settings.ts";

/**
 * The supervisor of a local platform: `node local/main.ts [--home DIR] [--port-base N] [--deploy DIR]`.
 * Exit codes: 0 after SIGINT or SIGTERM, 1 when the platform cannot start, 2 for wrong settings.
 */
async function main(stopping: AbortController): Promise<void> {
  const argv = process.argv.slice(2);
  if (argv.includes("--help")) {
    process.stdout.write(`Isotope on this machine\n\n${settingsHelp(SETTINGS)}\n`);
    return;
  }
  const settings = parseSettings(SETTINGS, { argv, env: process.env });
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  onStopSignal(
    () => {
      say("Stopping: running requests are finished first (again to stop at once)");
      stopping.abort();
    },
    () => process.exit(1),
  );
  const platform = await startPlatform(settings, say, stopping.signal);
  flushCompileCache();
  await platform.stopped;
}

const stopping = new AbortController();
try {
  await main(stopping);
  process.exit(0);
} catch (error) {
  // Stopped while it was starting.
  if (stopping.signal.aborted) process.exit(0);
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(error instanceof SettingsError ? 2 : 1);
}
