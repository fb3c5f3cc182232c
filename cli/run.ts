import { KubeError } from "../kube/kube-error.ts";
import { CliError, type Command, type CommandInput, type GlobalValues, UsageError } from "./command.ts";
import { COMMANDS, NOUNS } from "./commands/index.ts";
import { createContext, type Surroundings } from "./context.ts";
import { commandHelp, commandName, type Noun, nounHelp, programHelp } from "./help.ts";
import { laterWord } from "./later.ts";
import { parseCommandLine, requireComplete } from "./parse-flags.ts";
import { didYouMean } from "./suggest.ts";

/** Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. */
const FAILED = 1;
const USAGE = 2;
const INTERRUPTED = 130;

interface Chosen {
  command: Command;
  args: string[];
}

/** What the words before the flags mean: a command, or a help text to print. */
function choose(argv: readonly string[]): Chosen | { help: string } {
  const [first, second] = argv;
  if (first === undefined || first === "help" || first === "--help" || first === "-h") {
    const [, ...rest] = argv;
    return first === "help" && rest.length > 0
      ? choose([...rest, "--help"])
      : { help: programHelp(NOUNS, COMMANDS) };
  }
  if (first === "--version") return choose(["version", "--client-only"]);
  const plain = COMMANDS.find(
    (command) => command.noun === "" && (command.verb === first || command.aliases?.includes(first)),
  );
  if (plain) return { command: plain, args: argv.slice(1) };
  const noun = nounOf(first);
  const inner = noun && second !== undefined ? nounOf(`${noun.name} ${second}`) : undefined;
  if (inner) return chooseVerb(inner, argv.slice(2));
  if (!noun) {
    const later = laterWord(first);
    if (later) throw later;
    const words = [
      ...NOUNS.flatMap(({ name, aliases }) => [name, ...aliases]),
      ...COMMANDS.filter((command) => command.noun === "").map((command) => command.verb),
    ];
    throw new UsageError(`unknown command "${first}"${didYouMean(first, words)}`);
  }
  return chooseVerb(noun, argv.slice(1));
}

const nounOf = (words: string): Noun | undefined =>
  NOUNS.find(({ name, aliases }) => name === words || aliases.includes(words));

function chooseVerb(noun: Noun, [word, ...args]: readonly string[]): Chosen | { help: string } {
  if (word === undefined || word === "--help" || word === "-h")
    return { help: nounHelp(noun, COMMANDS, NOUNS) };
  const verbs = COMMANDS.filter((command) => command.noun === noun.name);
  const command = verbs.find(({ verb, aliases }) => verb === word || aliases?.includes(word));
  if (!command) {
    const later = laterWord(`${noun.name} ${word}`);
    if (later) throw later;
    const words = verbs.flatMap(({ verb, aliases }) => [verb, ...(aliases ?? [])]);
    const inner = COMMANDS.find(
      ({ noun: other, verb, aliases }) =>
        other.startsWith(`${noun.name} `) && (verb === word || aliases?.includes(word)),
    );
    const meant = inner ? `; did you mean "${inner.noun} ${inner.verb}"?` : didYouMean(word, words);
    throw new UnknownVerb(`unknown verb "${word}" for ${noun.name}${meant}`, noun.name);
  }
  return { command, args };
}

/** A noun that is known with a verb that is not: the noun's help says which there are. */
class UnknownVerb extends UsageError {
  readonly noun: string;
  constructor(message: string, noun: string) {
    super(message);
    this.noun = noun;
  }
}

const firstLine = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function report(error: unknown, surroundings: Surroundings, label: string, verbosity: number): number {
  const say = (line: string): void => surroundings.writeError(`${line}\n`);
  if (surroundings.signal.aborted) return INTERRUPTED;
  if (error instanceof UsageError) {
    say(`Error: ${error.message}`);
    const subject = error instanceof UnknownVerb ? error.noun : label;
    say(`Run \`isotope ${subject ? `${subject} ` : ""}--help\` for usage`);
    return USAGE;
  }
  say(`Error: ${firstLine(error)}`);
  if (error instanceof KubeError || error instanceof CliError) {
    if (verbosity > 0 && error.cause) say(`Cause: ${firstLine(error.cause)}`);
    return error instanceof CliError ? error.exitCode : FAILED;
  }
  if (verbosity > 0 && error instanceof Error && error.stack) say(error.stack);
  return FAILED;
}

/** Runs one command line (without the program's name) and resolves to the exit code. Never throws. */
export async function run(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  let label = "";
  let globals: GlobalValues | undefined;
  try {
    const chosen = choose(argv);
    if ("help" in chosen) {
      surroundings.write(chosen.help);
      return 0;
    }
    label = commandName(chosen.command);
    if (chosen.args.some((argument) => argument === "--help" || argument === "-h")) {
      surroundings.write(commandHelp(chosen.command));
      return 0;
    }
    const parsed = parseCommandLine(chosen.command, chosen.args);
    globals = parsed.globals;
    requireComplete(chosen.command, parsed);
    const context = createContext(surroundings, parsed.globals);
    const input: CommandInput<Command["flags"]> = {
      flags: parsed.flags,
      positionals: [...parsed.positionals, ...parsed.rest],
      given: parsed.given,
    };
    return (await chosen.command.run(input, context)) ?? 0;
  } catch (error) {
    return report(error, surroundings, label, globals?.verbosity ?? 0);
  }
}
