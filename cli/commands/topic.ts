import { setTimeout as sleep } from "node:timers/promises";
import {
  MessageList,
  PublishedMessage,
  type PublishMessage,
  type TopicMessage,
  TopicName,
} from "../../api/wire/topics.ts";
import { type Command, defineCommand, type Flags, UsageError } from "../command.ts";
import type { CliContext } from "../context.ts";
import { flagBytes } from "../flag-bytes.ts";
import { printStructured } from "../invocation-text.ts";
import { OUTPUT_FLAG, table } from "../output.ts";

const NOUN = "topic";
const POLL_MS = 500;
const SHOWN = 100;
const TOPIC = {
  topic: { type: "string", help: "Name of the topic", required: true },
} as const satisfies Flags;
const PLACE = [{ name: "topic", help: "Name of the topic", flag: "topic" }] as const;

/** A name that is none is refused here: on a cluster the API server would make other paths of it. @throws {UsageError} */
async function pathOf(context: CliContext, topic: string): Promise<string> {
  const name = TopicName.safeParse(topic);
  if (!name.success)
    throw new UsageError(`--topic ${name.error.issues[0]?.message ?? "must be a name"}, got "${topic}"`);
  return `/v1/topics/${encodeURIComponent(await context.namespace())}/${name.data}`;
}

async function messages(
  context: CliContext,
  topic: string,
  query: { limit: number; after?: string },
): Promise<TopicMessage[]> {
  const ops = await context.ops();
  const reply = await ops.call(await pathOf(context, topic), { query, signal: context.signal });
  return MessageList.parse(await reply.body.json()).items;
}

/** @throws {UsageError} when a header is none */
function headersOf(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const end = text.search(/[:=]/);
      if (end < 1) throw new UsageError(`--header must be name=value or "Name: value", got "${text}"`);
      return [text.slice(0, end).trim(), text.slice(end + 1).trim()];
    }),
  );
}

/** What is no text travels in base64. */
async function dataOf(context: CliContext, given: string): Promise<Pick<PublishMessage, "data" | "base64">> {
  const bytes = await flagBytes(context, "--data", given);
  const text = bytes.toString("utf8");
  return Buffer.from(text).equals(bytes) ? { data: text } : { data: bytes.toString("base64"), base64: true };
}

const line = ({ id, key, data }: TopicMessage): string[] => [
  id,
  key ?? "",
  data.length > SHOWN ? `${data.slice(0, SHOWN)}…` : data,
];

export const topicCommands: readonly Command[] = [
  defineCommand({
    noun: NOUN,
    verb: "publish",
    summary: "Put a message on a built-in topic",
    examples: [
      `isotope topic publish --topic orders --data '{"id":7}' --key customer-3`,
      "isotope topic publish orders --data @order.json",
    ],
    positionals: PLACE,
    flags: {
      ...TOPIC,
      data: { type: "string", short: "d", help: "The message: text, @file, or - for stdin", required: true },
      key: { type: "string", help: "Messages of the same key are delivered in order" },
      header: { type: "strings", short: "H", help: 'Header of the message, name=value or "Name: value"' },
      "content-type": { type: "string", help: "Of the message", default: "application/json" },
      mqtype: {
        type: "string",
        help: "Kind of topic",
        default: "redis-streams",
        choices: ["redis-streams", "statestore"],
      },
    },
    async run({ flags }, context) {
      const message: Omit<PublishMessage, "topic"> = {
        ...(await dataOf(context, flags.data)),
        contentType: flags["content-type"],
        ...(flags.key === undefined ? {} : { key: flags.key }),
        ...(flags.header.length > 0 ? { headers: headersOf(flags.header) } : {}),
      };
      const ops = await context.ops();
      const reply = await ops.call(await pathOf(context, flags.topic), {
        method: "POST",
        body: JSON.stringify(message),
        headers: { "content-type": "application/json" },
        signal: context.signal,
      });
      context.out(`${PublishedMessage.parse(await reply.body.json()).id}\n`);
      return 0;
    },
  }),
  defineCommand({
    noun: NOUN,
    verb: "peek",
    summary: "Show the newest messages of a built-in topic, without taking them",
    positionals: PLACE,
    flags: {
      ...TOPIC,
      limit: { type: "integer", help: "How many at most", default: 10, min: 1, max: 1_000 },
      output: OUTPUT_FLAG,
    },
    async run({ flags }, context) {
      const items = await messages(context, flags.topic, { limit: flags.limit });
      if (printStructured(context, flags.output, items)) return 0;
      if (items.length === 0) context.note(`No messages in topic "${flags.topic}"`);
      else context.out(table(["ID", "KEY", "DATA"], items.map(line)));
      return 0;
    },
  }),
  defineCommand({
    noun: NOUN,
    verb: "tail",
    summary: "Print the messages of a built-in topic as they come, one a line, until interrupted",
    positionals: PLACE,
    flags: TOPIC,
    async run({ flags }, context) {
      const [newest] = await messages(context, flags.topic, { limit: 1 });
      let after = newest?.id ?? "0-0";
      while (!context.signal.aborted) {
        const items = await messages(context, flags.topic, { limit: 100, after });
        for (const { data } of items) context.out(`${data}\n`);
        after = items.at(-1)?.id ?? after;
        if (items.length === 0)
          await sleep(POLL_MS, undefined, { signal: context.signal }).catch(() => undefined);
      }
      return 0;
    },
  }),
];
