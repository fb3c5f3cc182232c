/** The process beside a container of a foreign image: a runtime's fetcher, or a builder's. */
import { startFetcher } from "./fetcher.ts";
import { restrictFileModes } from "./place-files.ts";
import { FETCHER_HELP, fetcherSettings } from "./settings.ts";

/** Time for the last answers to leave, and for the kubelet to hear that the runtime may end. */
const LAST_WORDS_MS = 1_000;

const log = (message: string): void =>
  void process.stdout.write(
    `${JSON.stringify({ time: new Date().toISOString(), level: "warn", msg: message })}\n`,
  );

async function main(): Promise<void> {
  if (process.argv.includes("--help")) return void process.stdout.write(FETCHER_HELP);
  const settings = fetcherSettings(process.argv.slice(2), process.env);
  restrictFileModes();
  const fetcher =
    settings.mode === "builder"
      ? await (await import("./builder-fetcher.ts")).startBuilderFetcher(settings, log)
      : await startFetcher(settings, log);
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => fetcher.drain());
  await fetcher.drained;
  setTimeout(() => process.exit(0), LAST_WORDS_MS);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
