import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { UsageError } from "../command.ts";
import type { CliContext } from "../context.ts";

/**
 * The JSON of a flag: the text itself, `@file`, or `-` for stdin.
 * @throws {UsageError} naming the flag when it is none
 */
export async function jsonValue(context: CliContext, flag: string, given: string): Promise<unknown> {
  const [text, source] = await textOf(context, flag, given);
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${flag} must be JSON, @file or - for stdin, got ${source}: ${why}`);
  }
}

async function textOf(context: CliContext, flag: string, given: string): Promise<[string, string]> {
  if (given === "-") {
    let text = "";
    for await (const chunk of context.stdin) text += String(chunk);
    return [text, "that on stdin"];
  }
  if (!given.startsWith("@")) return [given, JSON.stringify(given.slice(0, 80))];
  const path = given.slice(1);
  try {
    return [await readFile(resolve(context.cwd, path), "utf8"), `"${path}"`];
  } catch (error) {
    throw new UsageError(
      `${flag} names a file that cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
