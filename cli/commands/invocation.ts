import { defineCommand, type Command, type Flags } from "../command.ts";
import { cancelInvocation, listInvocations, readInvocation } from "../invocation-client.ts";
import { invocationText, printInvocations, printStructured } from "../invocation-text.ts";
import { invocationResult } from "./invocation-result.ts";
import { OUTPUT_FLAG } from "../output.ts";

const NOUN = "invocation";
const PLACE = [{ name: "id", help: "Id of the invocation", flag: "id" }] as const;
const ID = {
  id: { type: "string", help: "Id of the invocation, as `isotope invocation list` shows it", required: true },
} as const satisfies Flags;

const list = defineCommand({
  noun: NOUN,
  verb: "list",
  aliases: ["ls"],
  summary: "List asynchronous invocations, newest first",
  examples: ["isotope invocation list --function hello --status running"],
  flags: {
    function: { type: "string", help: "Only of this function" },
    workflow: { type: "string", help: "Only of this workflow" },
    status: {
      type: "string",
      help: "Only in this status",
      choices: ["queued", "running", "succeeded", "dead", "cancelled"],
    },
    source: { type: "string", help: "Only made by this, such as http/default/orders or timer/nightly" },
    limit: { type: "integer", help: "How many at most", default: 50, min: 1, max: 100_000 },
    "all-namespaces": { type: "boolean", short: "A", help: "Of all namespaces" },
    output: OUTPUT_FLAG,
  },
  async run({ flags }, context) {
    const all = flags["all-namespaces"];
    const items = await listInvocations(context, {
      namespace: all ? undefined : await context.namespace(),
      function: flags.function,
      workflow: flags.workflow,
      source: flags.source,
      limit: flags.limit,
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- one of the flag's choices
      status: flags.status as "queued" | undefined,
    });
    printInvocations(context, items, {
      output: flags.output,
      none: "No invocations found",
      withNamespace: all,
    });
    return 0;
  },
});

const get = defineCommand({
  noun: NOUN,
  verb: "get",
  aliases: ["show", "describe"],
  summary: "Show an invocation: status, tries, last error, result",
  examples: ["isotope invocation get 7f0mwtjyksg02feoitzbony55vs"],
  positionals: PLACE,
  flags: {
    ...ID,
    payload: { type: "boolean", help: "With the headers and the body that it was accepted with" },
    output: { ...OUTPUT_FLAG, choices: ["json", "yaml"] },
  },
  async run({ flags }, context) {
    const item = await readInvocation(context, flags.id, flags.payload);
    if (!printStructured(context, flags.output, item)) context.out(invocationText(item));
    return 0;
  },
});

const cancel = defineCommand({
  noun: NOUN,
  verb: "cancel",
  summary: "Cancel an invocation: a waiting one at once, a running one is aborted",
  positionals: PLACE,
  flags: ID,
  async run({ flags }, context) {
    const { status } = await cancelInvocation(context, flags.id);
    context.note(
      status === "running"
        ? `Invocation ${flags.id} is being aborted`
        : `Invocation ${flags.id} is ${status}`,
    );
    return 0;
  },
});

export const invocationCommands: readonly Command[] = [list, get, invocationResult, cancel];
