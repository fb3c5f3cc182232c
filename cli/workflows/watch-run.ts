import { setTimeout as pause } from "node:timers/promises";
import { HistoryLine, RunView } from "../../api/wire/workflows.ts";
import { CliError } from "../command.ts";
import type { CliContext } from "../context.ts";
import { readRun, streamRun } from "./run-client.ts";
import { lineText } from "./run-text.ts";

const RETRY_MS = 500;
const MAX_RETRIES = 20;

/** Prints a run's history as it grows until the run has ended; goes on where it was when the connection breaks. Resolves to the run. */
export async function watchRun(context: CliContext, id: string, io: boolean): Promise<RunView> {
  let last: string | undefined;
  let failures = 0;
  for (;;) {
    try {
      for await (const event of streamRun(context, id, last)) {
        failures = 0;
        if (event.event === "entry") {
          context.out(lineText(HistoryLine.parse(JSON.parse(event.data)), io));
          last = event.id ?? last;
        } else if (event.event === "end") return await readRun(context, id);
      }
    } catch (error) {
      if (context.signal.aborted || failures >= MAX_RETRIES || error instanceof CliError) throw error;
    }
    const run = await readRun(context, id);
    if (run.status !== "running" && failures > 0) return run;
    failures++;
    await pause(RETRY_MS, undefined, { signal: context.signal });
  }
}
