import type { Command, Flag, Flags } from "./command.ts";
import { GLOBAL_FLAGS } from "./command.ts";

/** A flag with its other names and what stands for its value. */
export const flagSpelling = (name: string, flag: Flag): string => {
  const isOn = flag.type === "boolean" && flag.default === true;
  const names = [name, ...(flag.aliases ?? [])].map((long) => `--${isOn ? "[no-]" : ""}${long}`).join(", ");
  const value =
    flag.type === "boolean"
      ? ""
      : ` ${flag.placeholder ?? `<${flag.type === "strings" ? "string" : flag.type === "integers" ? "integer" : flag.type}>`}`;
  return `${flag.short ? `-${flag.short}, ` : "    "}${names}${value}`;
};

/** Bounds, default and the like of a flag, in parentheses; empty when there are none. */
export const flagRemarks = (flag: Flag): string => {
  const parts: string[] = [];
  if (flag.required) parts.push("required");
  if (flag.choices) parts.push(`one of ${flag.choices.join(", ")}`);
  if (flag.min !== undefined || flag.max !== undefined) parts.push(`${flag.min ?? ""}..${flag.max ?? ""}`);
  if (flag.default !== undefined && flag.default !== false && flag.default !== "")
    parts.push(`default ${String(flag.default)}`);
  if (flag.type === "strings" || flag.type === "integers") parts.push("may be repeated");
  if (flag.ignored) parts.push(flag.ignored);
  return parts.length > 0 ? ` (${parts.join("; ")})` : "";
};

const flagLines = (flags: Flags): string[] => {
  const entries = Object.entries(flags).map(
    ([name, flag]) => [flagSpelling(name, flag), flag.help + flagRemarks(flag)] as const,
  );
  const width = Math.min(38, Math.max(0, ...entries.map(([left]) => left.length)));
  return entries.map(([left, right]) =>
    left.length > width ? `  ${left}\n  ${" ".repeat(width)}  ${right}` : `  ${left.padEnd(width)}  ${right}`,
  );
};

export const commandName = (command: Command): string =>
  [command.noun, command.verb].filter(Boolean).join(" ");

/** Help of one command. */
export function commandHelp(command: Command): string {
  const places = (command.positionals ?? []).map(({ name, required, variadic }) => {
    const text = `${name}${variadic ? "..." : ""}`;
    return required ? `<${text}>` : `[${text}]`;
  });
  const lines = [
    command.summary,
    "",
    "Usage:",
    `  isotope ${[commandName(command), ...places].join(" ")} [flags]`,
  ];
  if (command.aliases?.length) lines.push("", `Aliases: ${command.aliases.join(", ")}`);
  if (command.description) lines.push("", command.description);
  if (command.examples?.length)
    lines.push("", "Examples:", ...command.examples.map((example) => `  ${example}`));
  if (Object.keys(command.flags).length > 0) lines.push("", "Flags:", ...flagLines(command.flags));
  lines.push("", "Global flags:", ...flagLines(GLOBAL_FLAGS));
  return `${lines.join("\n")}\n`;
}

export interface Noun {
  name: string;
  aliases: readonly string[];
  summary: string;
}

const columns = (rows: readonly (readonly [string, string])[]): string[] => {
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
};

/** Help of a noun: its verbs. */
export function nounHelp(noun: Noun, commands: readonly Command[], nouns: readonly Noun[]): string {
  const rows = commands
    .filter((command) => command.noun === noun.name)
    .map((command) => [command.verb, command.summary] as const)
    .concat(
      nouns
        .filter(({ name }) => name.startsWith(`${noun.name} `))
        .map(({ name, summary }) => [`${name.slice(noun.name.length + 1)} <verb>`, summary] as const),
    );
  const aliases = noun.aliases.length > 0 ? ["", `Aliases: ${noun.aliases.join(", ")}`] : [];
  return `${[noun.summary, "", "Usage:", `  isotope ${noun.name} <verb> [flags]`, ...aliases, "", "Verbs:", ...columns(rows), "", `\`isotope ${noun.name} <verb> --help\` shows the flags.`].join("\n")}\n`;
}

/** Help of the whole program. */
export function programHelp(nouns: readonly Noun[], commands: readonly Command[]): string {
  const plain = commands
    .filter((command) => command.noun === "")
    .map((command) => [command.verb, command.summary] as const);
  const grouped = nouns.map((noun) => [noun.name, noun.summary] as const);
  return `${["isotope: functions for TypeScript people, on a laptop and on Kubernetes", "", "Usage:", "  isotope <command> [flags]", "  isotope <noun> <verb> [flags]", "", "Commands:", ...columns(plain), "", "Nouns:", ...columns(grouped), "", "`isotope <command> --help` shows more."].join("\n")}\n`;
}
