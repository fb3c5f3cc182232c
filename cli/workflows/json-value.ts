import { UsageError } from "../command.ts";
import type { CliContext } from "../context.ts";
import { flagBytes } from "../flag-bytes.ts";

/**
 * The JSON of a flag: the text itself, `@file`, or `-` for stdin.
 * @throws {UsageError} naming the flag when it is none
 */
export async function jsonValue(context: CliContext, flag: string, given: string): Promise<unknown> {
  const text = (await flagBytes(context, flag, given)).toString("utf8");
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${flag} must be JSON, @file or - for stdin, got ${sourceOf(given)}: ${why}`);
  }
}

function sourceOf(given: string): string {
  if (given === "-" || given === "@-") return "that on stdin";
  return given.startsWith("@") ? `"${given.slice(1)}"` : JSON.stringify(given.slice(0, 80));
}
