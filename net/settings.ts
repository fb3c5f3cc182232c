import { parseArgs } from "node:util";

/** One setting of a process: where it comes from, what it may be, what it is when nobody says. A flag wins over the environment. */
export interface Setting<T> {
  readonly flag: string;
  readonly env: string;
  readonly help: string;
  /** What is allowed, for help and errors, e.g. `0..65535`. */
  readonly allowed: string;
  /** Value when neither flag nor variable is given; `required` = refuse to start. */
  readonly fallback: { readonly value: T } | "required";
  /** The value, or undefined when the text is not allowed. */
  readonly parse: (text: string) => T | undefined;
  readonly secret?: boolean;
  /** The flag may stand without a value, which means `true`. */
  readonly bare?: boolean;
}

export type SettingsOf<R extends Record<string, Setting<unknown>>> = {
  readonly [K in keyof R]: R[K] extends Setting<infer T> ? T : never;
};

/** Names the settings of a process: the variable is `ISOTOPE_<component>_` and the flag in upper case with underscores. */
export const flagsOf =
  (component: string) =>
  <F extends string>(name: F, help: string) => ({
    flag: name,
    env: `ISOTOPE_${component}_${name.toUpperCase().replaceAll("-", "_")}`,
    help,
  });

/** Thrown when a process is started with settings that it cannot run with. The message names all of them. */
export class SettingsError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "SettingsError";
    this.problems = problems;
  }
}

export interface SettingsSource {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Variables with this prefix that are no setting are refused, e.g. `ISOTOPE_ROUTER_`. */
  readonly envPrefix?: string;
}

/** Reads all settings once. Throws `SettingsError` for an unknown flag or variable, a malformed or a missing value. */
export function parseSettings<R extends Record<string, Setting<unknown>>>(
  records: R,
  source: SettingsSource,
): SettingsOf<R> {
  const problems: string[] = [];
  const byFlag = new Map(Object.values(records).map((setting) => [setting.flag, setting]));
  const flags = readFlags(source.argv, byFlag, problems);
  const known = new Set(Object.values(records).map((setting) => setting.env));
  for (const name of Object.keys(source.env)) {
    if (source.envPrefix !== undefined && name.startsWith(source.envPrefix) && !known.has(name))
      problems.push(`Cannot start: unknown environment variable "${name}"`);
  }
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(records)) {
    const flag = flags.get(setting.flag);
    const text = flag ?? source.env[setting.env];
    if (text === undefined || (flag === undefined && text === "")) {
      if (setting.fallback === "required")
        problems.push(`Cannot start: --${setting.flag} (or ${setting.env}) is required: ${setting.help}`);
      else values[name] = setting.fallback.value;
      continue;
    }
    const value = setting.parse(text);
    if (value === undefined) problems.push(malformed(setting, flag !== undefined, text));
    else values[name] = value;
  }
  if (problems.length > 0) throw new SettingsError(problems);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every key of the record was given a value of its parser's type
  return values as SettingsOf<R>;
}

function malformed(setting: Setting<unknown>, fromFlag: boolean, text: string): string {
  const source = fromFlag ? `--${setting.flag}` : setting.env;
  const given = setting.secret ? "a value that is kept out of the log" : `"${text}"`;
  return `Cannot start: ${source} must be ${setting.allowed}, got ${given}`;
}

function readFlags(
  argv: readonly string[],
  byFlag: ReadonlyMap<string, Setting<unknown>>,
  problems: string[],
): Map<string, string> {
  const found = new Map<string, string>();
  const { tokens } = parseArgs({
    args: [...argv],
    options: Object.fromEntries(
      [...byFlag].map(([flag, { bare }]) => [
        flag,
        { type: bare ? ("boolean" as const) : ("string" as const) },
      ]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind === "positional") problems.push(`Cannot start: unexpected argument "${token.value}"`);
    if (token.kind !== "option") continue;
    if (!byFlag.has(token.name)) {
      problems.push(
        `Cannot start: unknown flag "${token.rawName}"; allowed: ${[...byFlag.keys()].map((flag) => `--${flag}`).join(", ")}`,
      );
      continue;
    }
    if (found.has(token.name)) problems.push(`Cannot start: --${token.name} is given more than once`);
    found.set(token.name, token.value ?? "true");
  }
  return found;
}

interface Named<T> {
  readonly flag: string;
  readonly env: string;
  readonly help: string;
  readonly fallback?: T;
}

const fallbackOf = <T>(given: Named<T>): Setting<T>["fallback"] =>
  given.fallback === undefined ? "required" : { value: given.fallback };

/** A string; `pattern` and `allowed` say which. */
export function text(
  given: Named<string> & { pattern?: RegExp; allowed?: string; secret?: boolean },
): Setting<string> {
  const { pattern } = given;
  return {
    ...given,
    allowed: given.allowed ?? "a string",
    fallback: fallbackOf(given),
    parse: (value) => (pattern && !pattern.test(value) ? undefined : value),
  };
}

/** A string that may be left out. */
export function optionalText(
  given: Omit<Named<string>, "fallback"> & { secret?: boolean },
): Setting<string | undefined> {
  return { ...given, allowed: "a string", fallback: { value: undefined }, parse: (value) => value };
}

/** A whole number within bounds, both included. */
export function integer(given: Named<number> & { min: number; max: number }): Setting<number> {
  return {
    ...given,
    allowed: `a whole number in ${given.min}..${given.max}`,
    fallback: fallbackOf(given),
    parse: (value) => {
      const number = Number(value);
      return /^-?\d{1,15}$/.test(value) && number >= given.min && number <= given.max ? number : undefined;
    },
  };
}

/** A TCP port; 0 = a free one. */
export const port = (given: Named<number>): Setting<number> => integer({ ...given, min: 0, max: 65_535 });

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** A duration with its unit (`250ms`, `30s`, `5m`, `1h`), as milliseconds. */
export function durationMs(given: Named<number> & { minMs: number; maxMs: number }): Setting<number> {
  return {
    ...given,
    allowed: `a duration such as 250ms, 30s, 5m or 1h in ${given.minMs}ms..${given.maxMs}ms`,
    fallback: fallbackOf(given),
    parse: (value) => {
      const match = /^(\d{1,12})(ms|s|m|h)$/.exec(value);
      const unit = UNIT_MS[match?.[2] ?? ""];
      if (!match || unit === undefined) return undefined;
      const ms = Number(match[1]) * unit;
      return ms >= given.minMs && ms <= given.maxMs ? ms : undefined;
    },
  };
}

const UNIT_BYTES: Readonly<Record<string, number>> = {
  "": 1,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** A size in bytes, with Ki, Mi, Gi or Ti. */
export function bytes(given: Named<number> & { min: number; max: number }): Setting<number> {
  return {
    ...given,
    allowed: `a size such as 1048576, 512Ki or 64Mi in ${given.min}..${given.max} bytes`,
    fallback: fallbackOf(given),
    parse: (value) => {
      const match = /^(\d{1,15})(|Ki|Mi|Gi|Ti)$/.exec(value);
      if (!match) return undefined;
      const size = Number(match[1]) * (UNIT_BYTES[match[2] ?? ""] ?? 1);
      return size >= given.min && size <= given.max ? size : undefined;
    },
  };
}

/** A switch: `true` or `false`; the flag alone means true. */
export function toggle(given: Named<boolean>): Setting<boolean> {
  return {
    ...given,
    bare: true,
    allowed: `"true" or "false"`,
    fallback: fallbackOf(given),
    parse: (value) => (value === "true" ? true : value === "false" ? false : undefined),
  };
}

/** One of given words. */
export function oneOf<const W extends string>(given: Named<W> & { words: readonly W[] }): Setting<W> {
  return {
    ...given,
    allowed: `one of ${given.words.map((word) => `"${word}"`).join(", ")}`,
    fallback: fallbackOf(given),
    parse: (value) => given.words.find((word) => word === value),
  };
}

/** Comma-separated words; an empty string is an empty list. `item` says which words are allowed. */
export function list(
  given: Named<readonly string[]> & { item?: RegExp; allowed?: string },
): Setting<readonly string[]> {
  return {
    ...given,
    allowed: given.allowed ?? "a comma-separated list",
    fallback: fallbackOf(given),
    parse: (value) => {
      const words = value
        .split(",")
        .map((word) => word.trim())
        .filter((word) => word !== "");
      return words.every((word) => given.item?.test(word) ?? true) ? words : undefined;
    },
  };
}

export const FUNCTION_NAMESPACES_HELP =
  "Labels (key=value) of the namespaces that hold functions, one of them is enough; * = all namespaces";

/** Labels by which a process chooses the namespaces that it minds; by default all. */
export function namespaceLabels(
  given: Omit<Named<readonly string[]>, "fallback">,
): Setting<readonly string[]> {
  return list({
    ...given,
    fallback: ["*"],
    item: /^(\*|[^=,\s]+=[^=,\s]*)$/,
    allowed: "* or a comma-separated list of key=value",
  });
}

/** An http or https URL without a path, e.g. `http://127.0.0.1:8892`; the value is its origin. */
export function origin(given: Named<string>): Setting<string> {
  return {
    ...given,
    allowed: "an http or https URL without a path",
    fallback: fallbackOf(given),
    parse: (value) => {
      if (!URL.canParse(value)) return undefined;
      const url = new URL(value);
      const plain = url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "";
      return plain && (url.protocol === "http:" || url.protocol === "https:") ? url.origin : undefined;
    },
  };
}

/** Help text of a process: one line per setting. */
export function settingsHelp(records: Readonly<Record<string, Setting<unknown>>>): string {
  return Object.values(records)
    .map((setting) => {
      const value =
        setting.fallback === "required" ? "required" : `default ${JSON.stringify(setting.fallback.value)}`;
      return `  --${setting.flag} (${setting.env}): ${setting.help}; ${setting.allowed}; ${value}`;
    })
    .join("\n");
}

/** Runs a process's `start` with its settings; a `SettingsError` ends the process with exit code 2 and its message on stderr. */
export function startWith<R extends Record<string, Setting<unknown>>>(
  records: R,
  source: SettingsSource,
  start: (settings: SettingsOf<R>) => Promise<void>,
): void {
  if (source.argv.includes("--help")) {
    process.stdout.write(`${settingsHelp(records)}\n`);
    return;
  }
  let settings: SettingsOf<R>;
  try {
    settings = parseSettings(records, source);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(2);
  }
  start(settings).catch((error: unknown) => {
    process.stderr.write(
      `Cannot start: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exit(1);
  });
}
