import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { UsageError } from "./command.ts";
import type { CliContext } from "./context.ts";

/**
 * What a flag stands for: the text itself, the content of `@file`, or what comes on stdin for `-` and `@-`.
 * @throws {UsageError} naming the flag when the file cannot be read
 */
export async function flagBytes(context: CliContext, flag: string, given: string): Promise<Buffer> {
  if (given === "-" || given === "@-") {
    const chunks: Buffer[] = [];
    for await (const chunk of context.stdin) chunks.push(Buffer.from(chunk as Uint8Array | string));
    return Buffer.concat(chunks);
  }
  if (!given.startsWith("@")) return Buffer.from(given);
  try {
    return await readFile(resolve(context.cwd, given.slice(1)));
  } catch (error) {
    throw new UsageError(
      `${flag} names a file that cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
