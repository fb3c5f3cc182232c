import { createWriteStream } from "node:fs";
import { resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { defineCommand } from "../command.ts";

/** Results over 256 KiB are shown nowhere else. */
export const invocationResult = defineCommand({
  noun: "invocation",
  verb: "result",
  summary: "Write what the function answered, as it answered",
  examples: ["isotope invocation result 7f0mwtjyksg02feoitzbony55vs -o thumbnail.png"],
  positionals: [{ name: "id", help: "Id of the invocation", flag: "id" }],
  flags: {
    id: {
      type: "string",
      help: "Id of the invocation, as `isotope invocation list` shows it",
      required: true,
    },
    output: { type: "string", short: "o", aliases: ["o"], help: "File; default: stdout" },
  },
  async run({ flags }, context) {
    const namespace = encodeURIComponent(await context.namespace());
    const path = `/v1/invocations/${namespace}/${encodeURIComponent(flags.id)}/result`;
    const { body } = await (await context.ops()).call(path, { signal: context.signal });
    if (flags.output) await pipeline(body, createWriteStream(resolve(context.cwd, flags.output)));
    else context.out(await body.text());
    return 0;
  },
});
