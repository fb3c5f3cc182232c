import { stringify } from "yaml";
import { parseDurationMs } from "../../../api/duration.ts";
import { RUN_STATUSES, RunQuery } from "../../../api/wire/workflows.ts";
import { WORKFLOWS } from "../../../kube/kinds.ts";
import { type Command, defineCommand, type Flags, UsageError } from "../../command.ts";
import type { CliContext } from "../../context.ts";
import { age, OUTPUT_FLAG, table } from "../../output.ts";
import { jsonValue } from "../../workflows/json-value.ts";
import {
  endRun,
  listRuns,
  readHistory,
  readRun,
  retryRun,
  runGraph,
  sendEvent,
} from "../../workflows/run-client.ts";
import { lineNote, lineText, runText, tookText } from "../../workflows/run-text.ts";
import { PICTURE_FLAGS, showPicture } from "../../workflows/show-picture.ts";
import { watchRun } from "../../workflows/watch-run.ts";
import { printEnd } from "./run-end.ts";

const NOUN = "workflow runs";
const PLACE = [{ name: "name", help: "Run", flag: "name" }] as const;
const NAME = { name: { type: "string", help: "Run", required: true } } as const satisfies Flags;
const STRUCTURED = {
  output: { type: "string", short: "o", aliases: ["o"], help: "Output format", choices: ["json", "yaml"] },
} as const satisfies Flags;
const REASON = {
  reason: { type: "string", help: "Why; kept in its history", default: "" },
} as const satisfies Flags;

function printStructured(context: CliContext, output: string | undefined, value: unknown): boolean {
  if (output === "json") context.out(`${JSON.stringify(value, null, 2)}\n`);
  else if (output === "yaml") context.out(stringify(value, { lineWidth: 0 }));
  else return false;
  return true;
}

const list = defineCommand({
  noun: NOUN,
  verb: "list",
  aliases: ["ls"],
  summary: "List runs, newest first",
  examples: [
    "isotope workflow runs list --workflow order --status failed",
    "isotope workflow runs list --since 2h -o json",
  ],
  flags: {
    workflow: { type: "string", help: "Only runs of this workflow" },
    status: { type: "string", help: "Only runs of this status", choices: RUN_STATUSES },
    since: { type: "string", help: "Only runs started since: a time, or how long ago, such as 2h" },
    until: { type: "string", help: "Only runs started before: a time, or how long ago" },
    limit: { type: "integer", help: "How many at most", default: 50, min: 1, max: 10_000 },
    "all-namespaces": { type: "boolean", short: "A", help: "Of all namespaces" },
    output: OUTPUT_FLAG,
  },
  async run({ flags }, context) {
    const all = flags["all-namespaces"];
    const namespaces = all ? await namespacesWithWorkflows(context) : [await context.namespace()];
    const runs = [];
    for (const namespace of namespaces) {
      const query = RunQuery.omit({ limit: true, after: true }).safeParse({
        namespace,
        workflow: flags.workflow,
        status: flags.status,
        since: timeOf("--since", flags.since),
        until: timeOf("--until", flags.until),
      });
      if (!query.success)
        throw new UsageError(
          `--workflow ${query.error.issues[0]?.message ?? ""}, got ${JSON.stringify(flags.workflow)}`,
        );
      runs.push(...(await listRuns(context, query.data, flags.limit)));
    }
    runs.sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1)).splice(flags.limit);
    if (printStructured(context, flags.output, runs)) return 0;
    if (flags.output === "name") {
      for (const { id } of runs) context.out(`workflowruns/${id}\n`);
      return 0;
    }
    if (runs.length === 0) {
      context.note("No runs found");
      return 0;
    }
    context.out(
      table(
        [...(all ? ["NAMESPACE"] : []), "NAME", "WORKFLOW", "STATUS", "STATES", "AGE", "TOOK"],
        runs.map(({ namespace, id, workflow, status, states, startedAt, finishedAt }) => [
          ...(all ? [namespace] : []),
          id,
          workflow,
          status,
          shownStates(states, flags.output === "wide"),
          age(startedAt),
          tookText(startedAt, finishedAt),
        ]),
      ),
    );
    return 0;
  },
});

const MAX_STATES_SHOWN = 3;
const shownStates = (states: readonly string[], all: boolean): string =>
  all || states.length <= MAX_STATES_SHOWN
    ? states.join(",")
    : `${states.slice(0, MAX_STATES_SHOWN).join(",")} and ${states.length - MAX_STATES_SHOWN} more`;

async function namespacesWithWorkflows(context: CliContext): Promise<string[]> {
  const { items } = await (await context.kube()).list(WORKFLOWS, {});
  return [...new Set(items.flatMap(({ metadata }) => metadata.namespace ?? []))].sort();
}

/** RFC 3339, from a time or from how long ago it was. */
function timeOf(flag: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  try {
    return new Date(Date.now() - parseDurationMs(text)).toISOString();
  } catch {
    const time = Date.parse(text);
    if (Number.isNaN(time))
      throw new UsageError(
        `${flag} must be a time such as 2027-01-31T12:00:00Z or how long ago, such as 2h, got "${text}"`,
      );
    return new Date(time).toISOString();
  }
}

const describe = defineCommand({
  noun: NOUN,
  verb: "describe",
  aliases: ["get"],
  summary: "Show a run: where it is, what it waits for, what it was given and gave",
  positionals: PLACE,
  flags: { ...NAME, ...STRUCTURED },
  async run({ flags }, context) {
    const run = await readRun(context, flags.name);
    if (!printStructured(context, flags.output, run)) context.out(runText(run));
    return 0;
  },
});

const history = defineCommand({
  noun: NOUN,
  verb: "history",
  summary: "Show all that has happened in a run",
  positionals: PLACE,
  flags: {
    ...NAME,
    io: { type: "boolean", help: "With what went into each step and what came out" },
    ...STRUCTURED,
  },
  async run({ flags }, context) {
    if (flags.output) {
      const entries = [];
      for await (const line of readHistory(context, flags.name)) entries.push(line);
      printStructured(context, flags.output, entries);
      return 0;
    }
    if (flags.io) {
      for await (const line of readHistory(context, flags.name)) context.out(lineText(line, true));
      return 0;
    }
    const rows: string[][] = [];
    for await (const line of readHistory(context, flags.name)) {
      const attempt = line.attempt === undefined ? "" : String(line.attempt);
      rows.push([String(line.seq), line.at, line.type, line.state ?? "", attempt, lineNote(line)]);
    }
    context.out(table(["SEQ", "AT", "TYPE", "STATE", "ATTEMPT", "WHAT"], rows));
    return 0;
  },
});

const watch = defineCommand({
  noun: NOUN,
  verb: "watch",
  aliases: ["follow"],
  summary: "Follow a run until it has ended",
  description: "Prints its history as it grows, then its output. The exit code is 1 when it did not succeed.",
  positionals: PLACE,
  flags: { ...NAME, io: { type: "boolean", help: "With what went into each step and what came out" } },
  async run({ flags }, context) {
    return printEnd(context, await watchRun(context, flags.name, flags.io), undefined, true);
  },
});

const graph = defineCommand({
  noun: NOUN,
  verb: "graph",
  summary: "Draw a run: its workflow, coloured by where the run is and was",
  positionals: PLACE,
  flags: { ...NAME, ...PICTURE_FLAGS },
  async run({ flags }, context) {
    return showPicture(context, flags, flags.name, (format) => runGraph(context, flags.name, format));
  },
});

const signal = defineCommand({
  noun: NOUN,
  verb: "signal",
  aliases: ["send"],
  summary: "Send an event to a run",
  examples: [
    "isotope workflow runs signal order-4711 --event APPROVE",
    `isotope workflow runs signal order-4711 --event APPROVE --data '{"by": "kim"}' --id mail-17`,
  ],
  positionals: PLACE,
  flags: {
    ...NAME,
    event: { type: "string", help: "Type of the event", required: true },
    data: { type: "string", help: "Its other fields, a JSON object: the text, @file or - for stdin" },
    id: { type: "string", help: "Sending it again under the same id changes nothing" },
    buffered: {
      type: "boolean",
      help: "Keep it until the run takes it, instead of refusing it when it is not taken now",
    },
  },
  async run({ flags }, context) {
    const data = flags.data === undefined ? {} : await jsonValue(context, "--data", flags.data);
    if (typeof data !== "object" || data === null || Array.isArray(data))
      throw new UsageError(`--data must be a JSON object, got ${JSON.stringify(data)}`);
    const { id, result } = await sendEvent(context, flags.name, {
      ...(flags.id === undefined ? {} : { id: flags.id }),
      event: { ...data, type: flags.event },
      buffered: flags.buffered,
    });
    context.out(
      result === "duplicate"
        ? `event "${flags.event}" with id "${id}" was sent before: nothing changed\n`
        : `event "${flags.event}" sent to run "${flags.name}"\n`,
    );
    return 0;
  },
});

const cancel = defineCommand({
  noun: NOUN,
  verb: "cancel",
  summary: "End a run in order: calls under way are aborted, what was done is compensated",
  positionals: PLACE,
  flags: { ...NAME, ...REASON },
  async run({ flags }, context) {
    const run = await endRun(context, flags.name, "cancel", flags.reason);
    context.out(`run "${run.id}" ${run.status === "running" ? "is being cancelled" : run.status}\n`);
    return 0;
  },
});

const terminate = defineCommand({
  noun: NOUN,
  verb: "terminate",
  summary: "End a run at once: nothing is compensated",
  positionals: PLACE,
  flags: { ...NAME, ...REASON },
  async run({ flags }, context) {
    const run = await endRun(context, flags.name, "terminate", flags.reason);
    context.out(`run "${run.id}" ${run.status === "running" ? "is being terminated" : run.status}\n`);
    return 0;
  },
});

const retry = defineCommand({
  noun: NOUN,
  verb: "retry",
  aliases: ["redrive"],
  summary: "Take a run up again that failed, from the step that failed",
  positionals: PLACE,
  flags: NAME,
  async run({ flags }, context) {
    const run = await retryRun(context, flags.name);
    context.out(`run "${run.id}" ${run.status === "running" ? "goes on" : run.status}\n`);
    return 0;
  },
});

/** `isotope workflow runs …`. */
export const workflowRunsCommands: readonly Command[] = [
  list,
  describe,
  history,
  watch,
  graph,
  signal,
  cancel,
  terminate,
  retry,
];
