import { createWriteStream, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { archiveUrl } from "../../api/archive-url.ts";
import { CliError, type Command, defineCommand, UsageError } from "../command.ts";
import { uploadArchive } from "../deploy/upload.ts";
import { age, table } from "../output.ts";

const ID = { type: "string", help: "Archive id, sha256:<hex>", required: true } as const;
const PLACE = [{ name: "id", help: "Archive id", flag: "id" }] as const;
const Listed = z.array(z.object({ id: z.string(), sizeBytes: z.number(), uploadedAt: z.string() }));

function checkId(id: string): string {
  if (!/^sha256:[a-f0-9]{64}$/.test(id))
    throw new UsageError(`--id must be sha256:<64 hex digits>, got "${id}"`);
  return id;
}

export const archiveCommands: readonly Command[] = [
  defineCommand({
    noun: "archive",
    verb: "upload",
    summary: "Store a file as an archive",
    positionals: [{ name: "file", help: "File", flag: "name" }],
    flags: { name: { type: "string", help: "File", required: true } },
    async run({ flags }, context) {
      let bytes: Uint8Array;
      try {
        bytes = readFileSync(resolve(context.cwd, flags.name));
      } catch (error) {
        throw new CliError(
          `Cannot read "${flags.name}": ${error instanceof Error ? error.message : String(error)}`,
          { cause: error },
        );
      }
      context.out(`sha256:${await uploadArchive(await context.ops(), bytes)}\n`);
      return 0;
    },
  }),
  defineCommand({
    noun: "archive",
    verb: "list",
    aliases: ["ls"],
    summary: "List stored archives",
    flags: {},
    async run(_input, context) {
      const reply = await (await context.ops()).call("/v1/archive", { query: { details: true } });
      const archives = Listed.parse(await reply.body.json());
      context.out(
        table(
          ["ID", "BYTES", "AGE"],
          archives.map(({ id, sizeBytes, uploadedAt }) => [id, String(sizeBytes), age(uploadedAt)]),
        ),
      );
      return 0;
    },
  }),
  defineCommand({
    noun: "archive",
    verb: "download",
    summary: "Download an archive",
    positionals: PLACE,
    flags: {
      id: ID,
      output: { type: "string", short: "o", aliases: ["o"], help: "File; default: the digest" },
    },
    async run({ flags }, context) {
      const id = checkId(flags.id);
      const reply = await (await context.ops()).call("/v1/archive", { query: { id } });
      const path = resolve(context.cwd, flags.output ?? id.slice("sha256:".length));
      await pipeline(reply.body, createWriteStream(path));
      context.out(`${path}\n`);
      return 0;
    },
  }),
  defineCommand({
    noun: "archive",
    verb: "get-url",
    summary: "Show the URL by which packages name an archive",
    positionals: PLACE,
    flags: { id: ID },
    async run({ flags }, context) {
      context.out(`${archiveUrl(checkId(flags.id).slice("sha256:".length))}\n`);
      return 0;
    },
  }),
  defineCommand({
    noun: "archive",
    verb: "delete",
    aliases: ["rm"],
    summary: "Delete an archive",
    positionals: PLACE,
    flags: {
      id: ID,
      output: { type: "string", aliases: ["o"], help: "Output format", ignored: "accepted for scripts" },
    },
    async run({ flags }, context) {
      await (await context.ops()).call("/v1/archive", { method: "DELETE", query: { id: checkId(flags.id) } });
      context.out(`archive "${flags.id}" deleted\n`);
      return 0;
    },
  }),
];
