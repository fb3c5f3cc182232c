import type { CliContext } from "./context.ts";

/** One flag of a command, as data: parsing, bounds, help and docs come from it. */
export interface Flag {
  type: "string" | "boolean" | "integer" | "duration" | "strings" | "integers";
  help: string;
  /** Other long names. */
  aliases?: readonly string[];
  /** One-letter name. */
  short?: string;
  required?: boolean;
  default?: string | number | boolean | readonly string[];
  choices?: readonly string[];
  min?: number;
  max?: number;
  /** What stands for the value in help, e.g. `<name>`. */
  placeholder?: string;
  /** Accepted for scripts of the reference system; the text says why it has no effect here. */
  ignored?: string;
}

export type Flags = Readonly<Record<string, Flag>>;

interface ValueOf {
  string: string;
  boolean: boolean;
  integer: number;
  /** Milliseconds. */
  duration: number;
  strings: string[];
  integers: number[];
}

type Given<F extends Flag> = F extends { required: true }
  ? true
  : F extends { default: string | number | boolean | readonly string[] }
    ? true
    : F["type"] extends "boolean" | "strings" | "integers"
      ? true
      : false;

/** Values of a command's flags: booleans and lists are always there, others when required, defaulted or given. */
export type FlagValues<F extends Flags> = {
  [Name in keyof F]: Given<F[Name]> extends true
    ? ValueOf[F[Name]["type"]]
    : ValueOf[F[Name]["type"]] | undefined;
};

export interface Positional {
  name: string;
  help: string;
  required?: boolean;
  /** Takes all that remain. */
  variadic?: boolean;
  /** A flag that this positional stands for, so that `fn test hello` equals `fn test --name hello`. */
  flag?: string;
}

export interface CommandInput<F extends Flags> {
  flags: FlagValues<F>;
  positionals: string[];
  /** Names of the flags that the user gave, without those that hold a default. */
  given: ReadonlySet<string>;
}

export interface Command<F extends Flags = Flags> {
  /** `fn`, `env` …; empty for commands of one word. */
  noun: string;
  verb: string;
  aliases?: readonly string[];
  summary: string;
  description?: string;
  examples?: readonly string[];
  positionals?: readonly Positional[];
  flags: F;
  /** Resolves to the exit code; nothing = 0. */
  run(input: CommandInput<F>, context: CliContext): Promise<number | undefined>;
}

/** Keeps the flags' literal types, so that `run` sees exact values. */
export const defineCommand = <const F extends Flags>(command: Command<F>): Command => command;

/** Flags that every command has. */
export const GLOBAL_FLAGS = {
  namespace: { type: "string", short: "n", help: "Namespace; default: the kubeconfig's, else default" },
  "kube-context": { type: "string", help: "Context of the kubeconfig" },
  kubeconfig: {
    type: "string",
    help: "Kubeconfig file; default: the running local platform's, else $KUBECONFIG, else ~/.kube/config",
  },
  home: { type: "string", help: "Folder of a local platform's state; default: the nearest .isotope" },
  verbosity: {
    type: "integer",
    short: "v",
    help: "How much is logged on stderr: 0, 1 or 2",
    default: 0,
    min: 0,
    max: 2,
  },
  help: { type: "boolean", short: "h", help: "Show this help" },
} as const satisfies Flags;
export type GlobalValues = FlagValues<typeof GLOBAL_FLAGS>;

/** What the user did wrong, in one sentence; exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** What went wrong, in one sentence, with what to do; exit code 1 unless said otherwise. */
export class CliError extends Error {
  override name = "CliError";
  readonly exitCode: number;
  constructor(message: string, options: { exitCode?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
  }
}
