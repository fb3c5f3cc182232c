import { parseSettings, SettingsError } from "../net/settings.ts";
import { startPlatform } from "./platform.ts";
import { SETTINGS } from "./settings.ts";

/**
 * The supervisor of a local platform: `node local/main.ts [--home DIR] [--port-base N] [--deploy DIR]`.
 * Exit codes: 0 after SIGINT or SIGTERM, 1 when the platform cannot start, 2 for wrong settings.
 */
async function main(): Promise<void> {
  const settings = parseSettings(SETTINGS, { argv: process.argv.slice(2), env: process.env });
  const stopping = new AbortController();
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  let stops = 0;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      stops++;
      // A second Ctrl-C does not wait for requests that are still running.
      if (stops > 1) process.exit(1);
      say("Stopping: running requests are finished first (again to stop at once)");
      stopping.abort();
    });
  }
  const platform = await startPlatform(settings, say, stopping.signal);
  await platform.stopped;
}

try {
  await main();
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(error instanceof SettingsError ? 2 : 1);
}
