import { CliError } from "./command.ts";
import { ownVersion } from "./version.ts";

/** Words of the reference system's CLI that will mean something here, but do not yet. */
const NOUNS = new Set("plugin plugins state support tenant token console run".split(" "));
const VERBS = new Set(["run-local", "runl", "tools"].map((verb) => `fn ${verb}`));
const FUNCTION_FLAGS =
  /^(expose-as-mcp|tool-(description|input-schema|name)|state(-.+)?|provisioned-(concurrency|schedule))$/;

const INSTEAD: Readonly<Record<string, string>> = {
  "fn run-local": "; `isotope dev` runs functions on this machine",
  "fn runl": "; `isotope dev` runs functions on this machine",
};

/** The error for a word that comes later; nothing for one that nobody knows. */
export function laterWord(words: string): CliError | undefined {
  if (!NOUNS.has(words) && !VERBS.has(words)) return undefined;
  return new CliError(
    `\`isotope ${words}\` comes in a later release, this is ${ownVersion()}${INSTEAD[words] ?? ""}`,
  );
}

/** The same for a flag of a noun. */
export function laterFlag(noun: string, flag: string): CliError | undefined {
  if (noun !== "fn" || !FUNCTION_FLAGS.test(flag)) return undefined;
  return new CliError(`--${flag} comes in a later release, this is ${ownVersion()}`);
}
