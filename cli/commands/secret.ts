import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Secret, SECRETS } from "../../kube/core.ts";
import { CliError, type Command, defineCommand, UsageError } from "../command.ts";
import type { CliContext } from "../context.ts";
import { deleteCommand, type NounKind, notFound } from "../generic-verbs.ts";
import { changeObject } from "../change-object.ts";
import { checkName } from "../names.ts";
import { age, OUTPUT_FLAG, table } from "../output.ts";

const KIND: NounKind<Secret> = { noun: "secret", type: SECRETS, columns: [] };
const KEY = /^[-._a-zA-Z0-9]{1,253}$/;

/** `key=value`. @throws {UsageError} */
function split(pair: string, what: string): [string, string] {
  const equals = pair.indexOf("=");
  const key = pair.slice(0, equals);
  // The value is a secret: it is kept out of the message.
  if (equals < 1 || !KEY.test(key))
    throw new UsageError(
      `${what} must be key=value with a key of letters, digits, "-", "_" and ".", got ${equals < 1 ? "no key" : `the key "${key}"`}`,
    );
  return [key, pair.slice(equals + 1)];
}

async function dataOf(
  context: CliContext,
  pairs: readonly string[],
  files: readonly string[],
): Promise<Record<string, string>> {
  const data: Record<string, string> = {};
  for (const pair of pairs) {
    const [key, value] = split(pair, "A value");
    data[key] = Buffer.from(value).toString("base64");
  }
  for (const pair of files) {
    const [key, path] = split(pair, "--from-file");
    try {
      const chunks: Uint8Array[] = [];
      if (path === "-") for await (const chunk of context.stdin) chunks.push(Buffer.from(chunk));
      else chunks.push(readFileSync(resolve(context.cwd, path)));
      data[key] = Buffer.concat(chunks).toString("base64");
    } catch (error) {
      throw new CliError(`Cannot read "${path}": ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }
  return data;
}

export const secretCommands: readonly Command[] = [
  defineCommand({
    noun: "secret",
    verb: "set",
    aliases: ["create", "update"],
    summary: "Set keys of a secret; functions that use it get a new revision",
    examples: [
      "isotope secret set database url=postgres://localhost/shop",
      "isotope secret set tls --from-file cert=server.pem --from-file key=-",
    ],
    positionals: [
      { name: "name", help: "Name of the secret", required: true },
      { name: "key=value", help: "Keys and values; other keys stay as they are", variadic: true },
    ],
    flags: {
      "from-literal": { type: "strings", help: "key=value" },
      "from-file": { type: "strings", help: "key=path; - reads stdin" },
    },
    async run({ flags, positionals: [given = "", ...pairs] }, context) {
      const name = checkName(given);
      const data = await dataOf(context, [...pairs, ...flags["from-literal"]], flags["from-file"]);
      if (Object.keys(data).length === 0) throw new UsageError("at least one key=value is required");
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      if (await kube.find(SECRETS, { namespace, name }))
        await changeObject(kube, KIND, { namespace, name }, (live) => ({
          ...live,
          data: { ...live.data, ...data },
        }));
      else
        await kube.create(SECRETS, {
          apiVersion: "v1",
          kind: "Secret",
          type: "Opaque",
          metadata: { name, namespace },
          data,
        });
      context.out(`secret "${name}" holds ${Object.keys(data).join(", ")}\n`);
      return 0;
    },
  }),
  defineCommand({
    noun: "secret",
    verb: "list",
    aliases: ["ls"],
    summary: "List secrets with their keys, never their values",
    flags: {
      output: { ...OUTPUT_FLAG, choices: ["json", "name"] },
      "all-namespaces": { type: "boolean", short: "A", help: "Of all namespaces" },
    },
    async run({ flags }, context) {
      const namespace = flags["all-namespaces"] ? undefined : await context.namespace();
      const { items } = await (await context.kube()).list(SECRETS, { namespace });
      const rows = items.map(({ metadata, data }) => ({
        name: metadata.name,
        namespace: metadata.namespace ?? "",
        keys: Object.keys(data ?? {}),
        age: age(metadata.creationTimestamp),
      }));
      if (flags.output === "json") context.out(`${JSON.stringify(rows, null, 2)}\n`);
      else if (flags.output === "name") for (const { name } of rows) context.out(`secrets/${name}\n`);
      else if (rows.length === 0) context.note("No secrets found");
      else
        context.out(
          table(
            ["NAMESPACE", "NAME", "KEYS", "AGE"],
            rows.map((row) => [row.namespace, row.name, row.keys.join(","), row.age]),
          ),
        );
      return 0;
    },
  }),
  defineCommand({
    noun: "secret",
    verb: "unset",
    summary: "Remove keys of a secret",
    positionals: [
      { name: "name", help: "Name of the secret", required: true },
      { name: "key", help: "Keys", required: true, variadic: true },
    ],
    flags: {},
    async run({ positionals: [name = "", ...keys] }, context) {
      const [kube, namespace] = [await context.kube(), await context.namespace()];
      const live = await kube.find(SECRETS, { namespace, name });
      if (!live) throw notFound("secret", "Secret", name, namespace);
      const missing = keys.filter((key) => !Object.hasOwn(live.data ?? {}, key));
      if (missing.length > 0)
        throw new CliError(
          `Secret "${name}" has no key "${missing.join('", "')}"; it holds ${Object.keys(live.data ?? {}).join(", ") || "none"}`,
        );
      await changeObject(kube, KIND, { namespace, name }, (current) => ({
        ...current,
        data: Object.fromEntries(Object.entries(current.data ?? {}).filter(([key]) => !keys.includes(key))),
      }));
      context.out(`secret "${name}" without ${keys.join(", ")}\n`);
      return 0;
    },
  }),
  deleteCommand(KIND),
];
