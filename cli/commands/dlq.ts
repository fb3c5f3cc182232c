import type { DeadLetterSelection } from "../../api/wire/invocations.ts";
import { type Command, CliError, defineCommand, type Flags, UsageError } from "../command.ts";
import type { CliContext } from "../context.ts";
import { changeDeadLetters, listDeadLetters, readInvocation } from "../invocation-client.ts";
import { invocationText, printInvocations, printStructured } from "../invocation-text.ts";
import { OUTPUT_FLAG } from "../output.ts";

const NOUN = "dlq";
const QUEUE = {
  queue: { type: "string", help: "The reference system's name of a queue: asyncinv, or mq-egress-<type>" },
} as const satisfies Flags;
const WHICH = {
  function: { type: "string", help: "Those of this function" },
  workflow: { type: "string", help: "Those of this workflow" },
  source: { type: "string", help: "Those made by this, such as http/default/orders or timer/nightly" },
} as const satisfies Flags;

/** All dead letters are of the first: what cannot be published to a topic waits with the invocation that is to tell of it. */
function nothingIn(queue: string | undefined): boolean {
  if (queue === undefined || queue === "asyncinv") return false;
  if (/^mq-egress-./.test(queue)) return true;
  throw new UsageError(`--queue must be asyncinv or mq-egress-<type>, got "${queue}"`);
}

const list = defineCommand({
  noun: NOUN,
  verb: "list",
  aliases: ["ls"],
  summary: "List dead letters, newest first: events that could not be delivered",
  flags: {
    ...WHICH,
    limit: { type: "integer", help: "How many at most", default: 100, min: 1, max: 100_000 },
    "all-namespaces": { type: "boolean", short: "A", help: "Of all namespaces" },
    output: OUTPUT_FLAG,
    ...QUEUE,
  },
  async run({ flags }, context) {
    const all = flags["all-namespaces"];
    const { function: fn, workflow, source, limit } = flags;
    const namespace = all ? undefined : await context.namespace();
    const items = nothingIn(flags.queue)
      ? []
      : await listDeadLetters(context, { namespace, function: fn, workflow, source, limit });
    printInvocations(context, items, { output: flags.output, none: "No dead letters", withNamespace: all });
    return 0;
  },
});

const show = defineCommand({
  noun: NOUN,
  verb: "show",
  aliases: ["get"],
  summary: "Show a dead letter: what was sent, how often it was tried, why it failed",
  positionals: [{ name: "id", help: "Id of the dead letter", flag: "id" }],
  flags: {
    id: { type: "string", help: "Id of the dead letter, as `isotope dlq list` shows it", required: true },
    output: { ...OUTPUT_FLAG, choices: ["json", "yaml"] },
    ...QUEUE,
  },
  async run({ flags }, context) {
    const item = await readInvocation(context, flags.id, true);
    if (item.status !== "dead")
      throw new CliError(`Invocation ${flags.id} is no dead letter: it is ${item.status}`);
    if (!printStructured(context, flags.output, item)) context.out(invocationText(item));
    return 0;
  },
});

const CHOICE = {
  ...WHICH,
  id: { type: "strings", help: "Those with these ids" },
  all: { type: "boolean", help: "All of the namespace" },
  ...QUEUE,
} as const satisfies Flags;

interface Choice {
  readonly id: readonly string[];
  readonly function: string | undefined;
  readonly workflow: string | undefined;
  readonly source: string | undefined;
  readonly all: boolean;
  readonly queue: string | undefined;
}

const IDS = [{ name: "id", help: "Ids of dead letters", variadic: true }] as const;

async function change(
  context: CliContext,
  how: "redrive" | "purge",
  flags: Choice,
  done: string,
): Promise<number> {
  const { id, function: fn, workflow, source, all } = flags;
  if (id.length > 0 && (all || fn !== undefined || workflow !== undefined || source !== undefined))
    throw new UsageError("ids exclude --function, --workflow, --source and --all");
  // Naming the queue is to mean all of it where letters are removed, as in the reference system.
  const whole = all || (how === "purge" && flags.queue !== undefined);
  if (id.length === 0 && !whole && fn === undefined && workflow === undefined && source === undefined)
    throw new UsageError(`Say which dead letters to ${how}: --id, --function, --workflow, --source or --all`);
  const selection: DeadLetterSelection = {
    namespace: await context.namespace(),
    ...(id.length > 0 ? { ids: [...id] } : { function: fn, workflow, source, all: whole }),
  };
  const count = nothingIn(flags.queue) ? 0 : await changeDeadLetters(context, how, selection);
  context.note(`${count} dead letter${count === 1 ? "" : "s"} ${done}`);
  return 0;
}

const redrive = defineCommand({
  noun: NOUN,
  verb: "redrive",
  summary: "Deliver dead letters again, with all attempts anew",
  examples: [
    "isotope dlq redrive 7f0mwtjyksg02feoitzbony55vs",
    "isotope dlq redrive --function hello",
    "isotope dlq redrive --all",
  ],
  positionals: IDS,
  flags: CHOICE,
  run: ({ flags, positionals }, context) =>
    change(context, "redrive", { ...flags, id: [...flags.id, ...positionals] }, "will be delivered again"),
});

const purge = defineCommand({
  noun: NOUN,
  verb: "purge",
  summary: "Remove dead letters for good",
  examples: ["isotope dlq purge --source timer/nightly"],
  positionals: IDS,
  flags: CHOICE,
  run: ({ flags, positionals }, context) =>
    change(context, "purge", { ...flags, id: [...flags.id, ...positionals] }, "removed"),
});

export const dlqCommands: readonly Command[] = [list, show, redrive, purge];
