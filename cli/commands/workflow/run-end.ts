import { stringify } from "yaml";
import type { RunView } from "../../../api/wire/workflows.ts";
import type { CliContext } from "../../context.ts";

/** Prints a run in the format asked for; with `end`, without a format, what came of it. Resolves to the exit code. */
export function printEnd(
  context: CliContext,
  run: RunView,
  output: string | undefined,
  end: boolean,
): number {
  if (output === "json") context.out(`${JSON.stringify(run, null, 2)}\n`);
  else if (output === "yaml") context.out(stringify(run, { lineWidth: 0 }));
  else if (output === "name") context.out(`workflowruns/${run.id}\n`);
  else if (run.status === "succeeded") context.out(`${JSON.stringify(run.output ?? null, null, 2)}\n`);
  else
    context.note(
      `run "${run.id}" ${run.status}${run.error ? `: ${run.error.type}: ${run.error.message}` : ""}`,
    );
  return !end || run.status === "succeeded" ? 0 : 1;
}
