import { parseDurationMs } from "../api/duration.ts";
import {
  type Command,
  type Flag,
  type Flags,
  GLOBAL_FLAGS,
  type GlobalValues,
  UsageError,
} from "./command.ts";
import { laterFlag } from "./later.ts";
import { didYouMean } from "./suggest.ts";

type Value = string | number | boolean | string[] | number[];

export interface ParsedCommandLine {
  flags: Record<string, Value | undefined>;
  globals: GlobalValues;
  positionals: string[];
  given: Set<string>;
  /** What stands after `--`. */
  rest: string[];
}

interface Known {
  name: string;
  flag: Flag;
}

function index(flags: Flags): { long: Map<string, Known>; short: Map<string, Known> } {
  const long = new Map<string, Known>();
  const short = new Map<string, Known>();
  for (const [name, flag] of Object.entries(flags)) {
    const known = { name, flag };
    for (const alias of [name, ...(flag.aliases ?? [])]) long.set(alias, known);
    if (flag.short) short.set(flag.short, known);
  }
  return { long, short };
}

function convert(name: string, flag: Flag, text: string): Value {
  if (flag.choices && !flag.choices.includes(text)) {
    throw new UsageError(
      `--${name} must be one of ${flag.choices.map((choice) => `"${choice}"`).join(", ")}, got "${text}"${didYouMean(text, flag.choices)}`,
    );
  }
  if (flag.type === "integer" || flag.type === "integers") {
    const value = Number(text);
    const min = flag.min ?? Number.MIN_SAFE_INTEGER;
    const max = flag.max ?? Number.MAX_SAFE_INTEGER;
    if (!/^-?\d+$/.test(text) || value < min || value > max) {
      const range =
        flag.min === undefined && flag.max === undefined
          ? "a whole number"
          : `${flag.min ?? ""}..${flag.max ?? ""}`;
      throw new UsageError(`--${name} must be ${range}, got "${text}"`);
    }
    return value;
  }
  if (flag.type === "duration") {
    try {
      return /^\d+$/.test(text) ? Number(text) * 1000 : parseDurationMs(text);
    } catch {
      throw new UsageError(`--${name} must be a duration such as 30s or 5m, got "${text}"`);
    }
  }
  if (flag.type === "boolean") {
    if (text === "true" || text === "false") return text === "true";
    throw new UsageError(`--${name} must be true or false, got "${text}"`);
  }
  return text;
}

function store(values: Record<string, Value | undefined>, { name, flag }: Known, text: string): void {
  if (flag.type === "strings") {
    values[name] = [...((values[name] as string[] | undefined) ?? []), text];
  } else if (flag.type === "integers") {
    const parts = text.split(",").map((part) => convert(name, flag, part.trim()) as number);
    values[name] = [...((values[name] as number[] | undefined) ?? []), ...parts];
  } else {
    values[name] = convert(name, flag, text);
  }
}

/** Fills in defaults; lists and booleans are always there. */
function complete(flags: Flags, values: Record<string, Value | undefined>): void {
  for (const [name, flag] of Object.entries(flags)) {
    if (values[name] !== undefined) continue;
    if (flag.default !== undefined)
      values[name] = typeof flag.default === "object" ? [...flag.default] : flag.default;
    else if (flag.type === "boolean") values[name] = false;
    else if (flag.type === "strings" || flag.type === "integers") values[name] = [];
  }
}

/**
 * Reads the arguments of a command. Long flags take `--name value` and `--name=value`, short ones `-n value` and `-nvalue`;
 * `--no-name` is `--name=false`; `--` ends the flags.
 * @throws {UsageError} for what is unknown, missing, doubled or malformed.
 */
export function parseCommandLine(
  command: Pick<Command, "flags" | "positionals"> & { noun?: string },
  args: readonly string[],
): ParsedCommandLine {
  const all: Flags = { ...GLOBAL_FLAGS, ...command.flags };
  const { long, short } = index(all);
  const values: Record<string, Value | undefined> = {};
  const given = new Set<string>();
  const positionals: string[] = [];
  const queue = [...args];
  let rest: string[] = [];

  const take = (known: Known, spelled: string, inline: string | undefined): void => {
    if (given.has(known.name) && known.flag.type !== "strings" && known.flag.type !== "integers") {
      throw new UsageError(`${spelled} is given more than once`);
    }
    given.add(known.name);
    if (known.flag.type === "boolean" && inline === undefined) {
      values[known.name] = true;
      return;
    }
    const text = inline ?? queue.shift();
    if (text === undefined)
      throw new UsageError(
        `${spelled} needs a value${known.flag.placeholder ? ` ${known.flag.placeholder}` : ""}`,
      );
    store(values, known, text);
  };

  for (let argument = queue.shift(); argument !== undefined; argument = queue.shift()) {
    if (argument === "--") {
      rest = queue.splice(0);
    } else if (argument.startsWith("--")) {
      const equals = argument.indexOf("=");
      const name = argument.slice(2, equals < 0 ? undefined : equals);
      const known = long.get(name);
      const denied = known ? undefined : long.get(name.replace(/^no-/, ""));
      if (denied?.flag.type === "boolean" && equals < 0) {
        take(denied, `--${name}`, "false");
        continue;
      }
      if (!known)
        throw (
          laterFlag(command.noun ?? "", name) ??
          new UsageError(`unknown flag --${name}${didYouMean(name, long.keys()).replace(/"(.*)"/, "--$1")}`)
        );
      take(known, `--${name}`, equals < 0 ? undefined : argument.slice(equals + 1));
    } else if (argument.startsWith("-") && argument.length > 1 && !/^-\d/.test(argument)) {
      const letter = argument.slice(1, 2);
      const known = short.get(letter) ?? long.get(argument.slice(1));
      if (!known) throw new UsageError(`unknown flag ${argument}`);
      const inline =
        argument.length > 2 && short.has(letter) ? argument.slice(2).replace(/^=/, "") : undefined;
      take(known, argument, inline);
    } else {
      positionals.push(argument);
    }
  }
  takePositionals(command, positionals, values, given, long);
  complete(all, values);
  const flags: Record<string, Value | undefined> = {};
  for (const name of Object.keys(command.flags)) flags[name] = values[name];
  return { flags, globals: values as unknown as GlobalValues, positionals, given, rest };
}

function takePositionals(
  command: Pick<Command, "positionals">,
  positionals: string[],
  values: Record<string, Value | undefined>,
  given: Set<string>,
  long: Map<string, Known>,
): void {
  const places = command.positionals ?? [];
  const limit = places.some((place) => place.variadic) ? Number.POSITIVE_INFINITY : places.length;
  if (positionals.length > limit) throw new UsageError(`unexpected argument "${positionals[limit] ?? ""}"`);
  for (const [at, place] of places.entries()) {
    const text = positionals[at];
    const known = place.flag === undefined ? undefined : long.get(place.flag);
    if (text === undefined || !known) continue;
    if (given.has(known.name))
      throw new UsageError(`"${text}" and --${known.name} name the same thing twice`);
    given.add(known.name);
    store(values, known, text);
  }
}

/** @throws {UsageError} naming the first thing that is missing. Apart from parsing, so that `--help` works without it. */
export function requireComplete(
  command: Pick<Command, "flags" | "positionals">,
  parsed: ParsedCommandLine,
): void {
  for (const [name, flag] of Object.entries(command.flags)) {
    if (flag.required && parsed.flags[name] === undefined)
      throw new UsageError(`--${name} is required: ${flag.help}`);
  }
  for (const [at, place] of (command.positionals ?? []).entries()) {
    if (place.required && parsed.positionals[at] === undefined)
      throw new UsageError(`<${place.name}> is required: ${place.help}`);
  }
}
