import { stringify } from "yaml";
import type { z } from "zod";
import { HEADER_REQUEST_ID } from "../../../api/headers.ts";
import { HEADER_INVOKE_AUTHORIZATION, LOG_LINE_LEVELS, LogLine, PodList } from "../../../api/wire/ops.ts";
import { FUNCTIONS } from "../../../kube/kinds.ts";
import { type Command, defineCommand, UsageError } from "../../command.ts";
import type { CliContext } from "../../context.ts";
import { notFound } from "../../generic-verbs.ts";
import { formatLogLine } from "../../log-lines.ts";
import { isColourful, OUTPUT_FLAG } from "../../output.ts";
import { printPods } from "../../pods-table.ts";
import { CHOICE_FLAGS, chosenRevisions } from "../../releases/chosen-revisions.ts";
import { checkMethods } from "../route-flags.ts";

const NAME = { type: "string", help: "Name", required: true } as const;
const PLACE = [{ name: "name", help: "Name", flag: "name" }] as const;

/** Lines of an NDJSON body as they arrive; blank ones are signs of life. */
export async function* logLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<z.infer<typeof LogLine>> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim()) yield LogLine.parse(JSON.parse(line));
  }
  if (rest.trim()) yield LogLine.parse(JSON.parse(rest));
}

export const functionLog: Command = defineCommand({
  noun: "fn",
  verb: "log",
  aliases: ["logs"],
  summary: "Show a function's log",
  examples: [
    "isotope fn logs hello -f",
    "isotope fn logs hello --level error --since 1h",
    "isotope fn logs hello --request-id 6f1c…",
  ],
  positionals: PLACE,
  flags: {
    name: NAME,
    follow: { type: "boolean", short: "f", help: "Keep on showing new lines" },
    reverse: { type: "boolean", short: "r", help: "Newest first" },
    recordcount: { type: "integer", help: "How many lines", default: 20, min: 1, max: 100_000 },
    detail: { type: "boolean", short: "d", help: "Pod, revision and request id of each line" },
    pod: { type: "string", help: "Lines of this pod" },
    revision: { type: "string", help: "Lines of this revision" },
    ...CHOICE_FLAGS,
    "request-id": { type: "string", help: "Lines of this request" },
    level: { type: "string", help: "This level and graver ones", choices: LOG_LINE_LEVELS },
    search: { type: "string", help: "Lines that contain this text" },
    since: { type: "string", help: "Lines since a time (RFC 3339) or for a duration back, such as 10m" },
    output: OUTPUT_FLAG,
    dbtype: { type: "string", help: "Log store", ignored: "accepted, there is one" },
    "all-pods": { type: "boolean", help: "All pods", ignored: "always so" },
    "pod-namespace": { type: "string", help: "Namespace of the pods", ignored: "known" },
    "trace-id": { type: "string", help: "Lines of this trace" },
  },
  async run({ flags, given }, context) {
    if (flags.follow && flags.reverse) throw new UsageError("--follow and --reverse exclude each other");
    const narrowed = ["since", "request-id", "search", "trace-id"].some((name) => given.has(name));
    const revisions = (await chosenRevisions(context, flags)) ?? [flags.revision];
    const limit = narrowed && !given.has("recordcount") ? 1000 : flags.recordcount;
    const ops = await context.ops();
    const linesOf = async (revision: string | undefined): Promise<AsyncIterable<LogLine>> => {
      const reply = await ops.call("/v1/logs", {
        query: {
          namespace: await context.namespace(),
          function: flags.name,
          pod: flags.pod,
          revision,
          requestId: flags["request-id"],
          level: flags.level,
          search: flags.search ?? flags["trace-id"],
          since: flags.since,
          limit,
          order: flags.follow ? undefined : "newest",
          follow: flags.follow,
        },
        signal: context.signal,
        bodyTimeoutMs: 0,
      });
      return logLines(reply.body);
    };
    const print = (line: LogLine): void =>
      context.out(
        flags.output === "json"
          ? `${JSON.stringify(line)}\n`
          : `${formatLogLine(line, { detail: flags.detail, colour: isColourful(context) })}\n`,
      );
    const lines: LogLine[] = [];
    await Promise.all(
      revisions.map(async (revision) => {
        for await (const line of await linesOf(revision)) {
          if (flags.follow) print(line);
          else lines.push(line);
        }
      }),
    );
    if (revisions.length > 1) lines.sort((a, b) => Date.parse(b.time) - Date.parse(a.time)).splice(limit);
    for (const line of flags.reverse ? lines : lines.toReversed()) print(line);
    if (!flags.follow && lines.length === 0) context.note(`No log lines of function "${flags.name}" found`);
    return 0;
  },
});

/** `Name: value` of -H. @throws {UsageError} */
function headersOf(pairs: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const pair of pairs) {
    const colon = pair.indexOf(":");
    if (colon < 1) throw new UsageError(`--header must be "Name: value", got "${pair}"`);
    const name = pair.slice(0, colon).trim().toLowerCase();
    headers[name === "authorization" ? HEADER_INVOKE_AUTHORIZATION : name] = pair.slice(colon + 1).trim();
  }
  return headers;
}

async function readStdin(context: CliContext): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of context.stdin) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

export const testFunction: Command = defineCommand({
  noun: "fn",
  verb: "test",
  summary: "Call a function and print its answer",
  examples: [
    "isotope fn test hello",
    'isotope fn test api --method POST --body \'{"a":1}\' -H "Content-Type: application/json" --subpath /items',
    "cat photo.png | isotope fn test resize --method POST --body @-",
  ],
  positionals: PLACE,
  flags: {
    name: NAME,
    method: { type: "strings", help: "Method; default GET, or POST with a body" },
    header: { type: "strings", short: "H", help: "Header, Name: value" },
    body: { type: "string", short: "b", help: "Body; @- reads stdin" },
    query: { type: "strings", short: "q", help: "Query parameter, k=v" },
    subpath: { type: "string", help: "Path below the function" },
    timeout: { type: "duration", short: "t", help: "How long to wait", default: 60_000 },
    async: { type: "boolean", help: "Do not wait for the answer" },
    alias: { type: "string", help: "Alias to call" },
    version: { type: "string", help: "Version to call" },
    dbtype: { type: "string", help: "Log store", ignored: "accepted, there is one" },
  },
  async run({ flags }, context) {
    if (flags.alias && flags.version) throw new UsageError("--alias and --version exclude each other");
    const namespace = await context.namespace();
    const qualifier = flags.alias ?? flags.version;
    const name = qualifier ? `${flags.name}:${qualifier}` : flags.name;
    const body = flags.body === "@-" ? await readStdin(context) : flags.body;
    const methods = checkMethods(flags.method);
    const path = flags.subpath ? `/${flags.subpath.replace(/^\/+/, "")}` : "";
    const query = new URLSearchParams(
      flags.query.map((pair): [string, string] => [
        pair.split("=")[0] ?? "",
        pair.slice(pair.indexOf("=") + 1),
      ]),
    ).toString();
    const reply = await (await context.ops()).send(
      `/v1/invoke/${namespace}/${name}${path}${query ? `?${query}` : ""}`,
      {
        method: (methods[0] ?? (body === undefined ? "GET" : "POST")) as "GET",
        headers: { ...(flags.async ? { "x-fission-invoke-mode": "async" } : {}), ...headersOf(flags.header) },
        ...(body === undefined ? {} : { body }),
        signal: AbortSignal.any([context.signal, AbortSignal.timeout(flags.timeout)]),
        bodyTimeoutMs: flags.timeout,
      },
    );
    if (context.verbosity > 0) context.note(`${reply.status} ${JSON.stringify(reply.headers)}`);
    const decoder = new TextDecoder();
    let last = "\n";
    for await (const chunk of reply.body) {
      const text = decoder.decode(chunk as Uint8Array, { stream: true });
      context.out(text);
      last = text.at(-1) ?? last;
    }
    if (last !== "\n" && context.interactive) context.out("\n");
    if (flags.async && reply.status === 202)
      context.note(
        "It is kept and will be delivered; `isotope invocation get <invocationId>` shows what came of it",
      );
    if (reply.status < 400) return 0;
    context.note(
      `Function "${flags.name}" answered ${reply.status}; \`isotope fn logs ${flags.name} --request-id ${String(reply.headers[HEADER_REQUEST_ID] ?? "")}\` shows what it wrote`,
    );
    return 1;
  },
});

export const functionPods: Command = defineCommand({
  noun: "fn",
  verb: "pods",
  aliases: ["pod", "po"],
  summary: "Show a function's pods",
  positionals: PLACE,
  flags: { name: NAME, ...CHOICE_FLAGS, output: OUTPUT_FLAG },
  async run({ flags }, context) {
    const revisions = await chosenRevisions(context, flags);
    const reply = await (await context.ops()).call("/v1/pods", {
      query: { namespace: await context.namespace(), function: flags.name },
    });
    const { pods } = PodList.parse(await reply.body.json());
    const shown = revisions ? pods.filter(({ revision }) => revisions.includes(revision)) : pods;
    printPods(context, shown, flags.output);
    return 0;
  },
});

export const functionMeta: Command = defineCommand({
  noun: "fn",
  verb: "getmeta",
  summary: "Show a function's metadata",
  positionals: PLACE,
  flags: { name: NAME, output: OUTPUT_FLAG },
  async run({ flags }, context) {
    const [kube, namespace] = [await context.kube(), await context.namespace()];
    const found = await kube.find(FUNCTIONS, { namespace, name: flags.name });
    if (!found) throw notFound("fn", "Function", flags.name, namespace);
    context.out(
      flags.output === "json" ? `${JSON.stringify(found.metadata, null, 2)}\n` : stringify(found.metadata),
    );
    return 0;
  },
});
