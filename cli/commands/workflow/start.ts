import { formatGraph } from "../../../workflows/format/format-graph.ts";
import { checkFormat } from "../../../workflows/format/check-format.ts";
import { FormatSpec } from "../../../workflows/format/spec.ts";
import { mermaidOf } from "../../../workflows/graph/mermaid.ts";
import { svgOf } from "../../../workflows/graph/svg.ts";
import { parseDurationMs } from "../../../api/duration.ts";
import { RunId, StartRun } from "../../../api/wire/workflows.ts";
import { CliError, type Command, defineCommand, UsageError } from "../../command.ts";
import type { CliContext } from "../../context.ts";
import { jsonValue } from "../../workflows/json-value.ts";
import { readWorkflowFile, withFunctionTypes } from "../../workflows/read-workflow-file.ts";
import { startRun, waitForRun, workflowGraph } from "../../workflows/run-client.ts";
import { PICTURE_FLAGS, type PictureFormat, showPicture } from "../../workflows/show-picture.ts";
import { printEnd } from "./run-end.ts";

const POLL_MS = 20_000;

const run = defineCommand({
  noun: "workflow",
  verb: "run",
  summary: "Start a run of a workflow",
  description:
    "Prints the run's name. With --wait it waits until the run has ended and prints its output; the exit code is 1 when it failed.",
  examples: [
    `isotope workflow run order --input '{"order": "4711"}'`,
    "isotope workflow run order --input @order.json --id order-4711 --wait",
  ],
  positionals: [{ name: "name", help: "Workflow", flag: "name" }],
  flags: {
    name: { type: "string", help: "Workflow", required: true },
    input: { type: "string", short: "i", help: "JSON, @file or - for stdin; default: null" },
    id: {
      type: "string",
      help: "Name of the run; starting one again that is there already starts nothing; default: made up",
    },
    deadline: { type: "string", help: "Time limit of the whole run, such as 24h; default: the workflow's" },
    wait: { type: "boolean", help: "Wait until it has ended" },
    timeout: { type: "duration", help: "How long --wait waits", default: 600_000 },
    output: {
      type: "string",
      short: "o",
      aliases: ["o"],
      help: "Output format",
      choices: ["json", "yaml", "name"],
    },
  },
  async run({ flags }, context) {
    if (flags.id !== undefined && !RunId.safeParse(flags.id).success)
      throw new UsageError(`--id must be 1..128 characters of A-Z a-z 0-9 . _ -, got "${flags.id}"`);
    checkDeadline(flags.deadline);
    const input = flags.input === undefined ? null : await jsonValue(context, "--input", flags.input);
    const start = StartRun.safeParse({
      namespace: await context.namespace(),
      workflow: flags.name,
      ...(flags.id === undefined ? {} : { id: flags.id }),
      input,
      ...(flags.deadline === undefined ? {} : { deadline: flags.deadline }),
    });
    if (!start.success) throw new UsageError(`--name ${start.error.issues[0]?.message ?? "is no workflow"}`);
    let view = await startRun(context, start.data);
    if (!flags.wait) {
      if (flags.output) return printEnd(context, view, flags.output, false);
      context.out(
        `run "${view.id}" of workflow "${view.workflow}" ${view.status === "running" ? "started" : view.status}\n`,
      );
      return 0;
    }
    context.note(`run "${view.id}" started`);
    const deadline = performance.now() + flags.timeout;
    while (view.status === "running") {
      const left = deadline - performance.now();
      if (left <= 0)
        throw new CliError(
          `Run "${view.id}" has not ended within ${flags.timeout / 1000} s: it goes on, \`isotope workflow runs watch ${view.id}\` follows it`,
        );
      view = await waitForRun(context, view.id, Math.min(POLL_MS, left));
    }
    return printEnd(context, view, flags.output, true);
  },
});

function checkDeadline(deadline: string | undefined): void {
  if (deadline === undefined) return;
  try {
    parseDurationMs(deadline);
  } catch {
    throw new UsageError(
      `--deadline must be a time such as 90s, 24h or 1h30m, got ${JSON.stringify(deadline)}`,
    );
  }
}

const graph = defineCommand({
  noun: "workflow",
  verb: "graph",
  summary: "Draw a workflow: as Mermaid, or as SVG",
  examples: ["isotope workflow graph order", "isotope workflow graph -f order.yaml -o svg > order.svg"],
  positionals: [{ name: "name", help: "Workflow", flag: "name" }],
  flags: {
    name: { type: "string", help: "Workflow" },
    file: {
      type: "string",
      short: "f",
      help: "File of a workflow in the startAt/states format; - for stdin",
    },
    ...PICTURE_FLAGS,
  },
  async run({ flags }, context) {
    const { name, file } = flags;
    if ((name === undefined) === (file === undefined))
      throw new UsageError(`give either --name or --file, got ${name === undefined ? "neither" : "both"}`);
    if (file !== undefined)
      return showPicture(context, flags, "workflow", (format) => pictureOfFile(context, file, format));
    return showPicture(context, flags, name ?? "", (format) => workflowGraph(context, name ?? "", format));
  },
});

async function pictureOfFile(context: CliContext, path: string, format: PictureFormat): Promise<string> {
  const file = await readWorkflowFile(context, path);
  const spec = withFunctionTypes(file.spec);
  const [problem] = checkFormat(spec);
  if (problem)
    throw new CliError(
      `Cannot draw "${path}": ${problem.place}: ${problem.message}; \`isotope workflow validate\` shows all that is wrong`,
    );
  const shown = formatGraph(file.name ?? "workflow", FormatSpec.parse(spec));
  return format === "svg" ? svgOf(shown) : mermaidOf(shown);
}

/** Verbs that start and draw workflows. */
export const workflowStartCommands: readonly Command[] = [run, graph];
