import { readFileSync, statSync } from "node:fs";
import { errorText } from "./error-text.ts";

/** What becomes of a container's own `command` and `args`. */
type ContainerCommand = "refuse" | "ignore" | "append" | "replace";

/** How containers of an image are run as processes. */
export interface ImageRule {
  /** Image reference; `*` stands for any text. */
  match: string;
  /** The argument vector; `${POD_DIR} ${POD_IP} ${PORT} ${ROOT} ${CONTAINER_DIR} ${OTHER_PODS}` (comma-separated CIDRs) are put in. */
  command: string[];
  /** Added to the process environment, under the container's own; the same substitutions. */
  env: Record<string, string>;
  /**
   * refuse (default): a container with its own command or args does not start. ignore: it starts as if it had none.
   * append: both follow the rule's command. replace: `command` takes the place of the rule's, `args` follow, as with an ENTRYPOINT.
   */
  containerCommand: ContainerCommand;
}

export interface ImageTable {
  find(image: string): ImageRule | undefined;
  /** The images that can be run, for messages. */
  patterns(): string[];
}

const COMMAND_MODES: readonly ContainerCommand[] = ["refuse", "ignore", "append", "replace"];

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function parseRule(value: unknown, where: string): ImageRule {
  const wrong = (field: string, got: unknown, allowed: string): never => {
    throw new Error(
      `Cannot read image table: ${where}.${field} must be ${allowed}, got ${JSON.stringify(got) ?? "nothing"}`,
    );
  };
  if (!isRecord(value))
    throw new Error(`Cannot read image table: ${where} must be an object, got ${JSON.stringify(value)}`);
  const { match, command, env = {}, containerCommand = "refuse", ...others } = value;
  for (const key of Object.keys(others))
    wrong(key, others[key], "absent: known are match, command, env, containerCommand");
  if (typeof match !== "string" || match === "") return wrong("match", match, "an image reference");
  if (!isStrings(command) || command.length === 0)
    return wrong("command", command, "a list of at least one string");
  if (!isRecord(env)) return wrong("env", env, "an object of strings");
  const checkedEnv: Record<string, string> = {};
  for (const [name, text] of Object.entries(env)) {
    checkedEnv[name] = typeof text === "string" ? text : wrong(`env.${name}`, text, "a string");
  }
  const mode = COMMAND_MODES.find((candidate) => candidate === containerCommand);
  if (mode === undefined)
    return wrong("containerCommand", containerCommand, `one of ${COMMAND_MODES.join(", ")}`);
  return { match, command, env: checkedEnv, containerCommand: mode };
}

/** Reads the rules of an image table. Throws naming the field, the value and what is allowed. */
export function parseImageRules(value: unknown): ImageRule[] {
  if (!isRecord(value) || !Array.isArray(value["images"])) {
    throw new Error('Cannot read image table: it must be an object with a list "images"');
  }
  return value["images"].map((rule, index) => parseRule(rule, `images[${index}]`));
}

function toPattern(match: string): RegExp {
  const parts = match.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`);
}

/** `image`, and the same with the tag `latest` when it names neither tag nor digest. */
function spellings(image: string): string[] {
  const lastPart = image.slice(image.lastIndexOf("/") + 1);
  return lastPart.includes(":") || lastPart.includes("@") ? [image] : [image, `${image}:latest`];
}

/** A table over fixed rules; the first that matches counts. */
export function makeImageTable(rules: readonly ImageRule[]): ImageTable {
  const compiled = rules.map((rule) => ({ rule, pattern: toPattern(rule.match) }));
  return {
    find: (image) => {
      const names = spellings(image);
      return compiled.find(({ pattern }) => names.some((name) => pattern.test(name)))?.rule;
    },
    patterns: () => rules.map((rule) => rule.match),
  };
}

/**
 * A table that follows its file: a changed file counts from the next container start on; one that has become unreadable or wrong is
 * reported through `log` and the rules before it stay. Throws when the file is wrong at the start.
 */
export function openImageTable(file: string, log: (message: string) => void): ImageTable {
  const load = (): ImageTable => {
    try {
      return makeImageTable(parseImageRules(JSON.parse(readFileSync(file, "utf8"))));
    } catch (error) {
      throw new Error(`Cannot use image table "${file}": ${errorText(error)}`, { cause: error });
    }
  };
  const modified = (): number => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  let loadedMs = modified();
  let table = load();
  const current = (): ImageTable => {
    const modifiedMs = modified();
    if (modifiedMs === loadedMs) return table;
    loadedMs = modifiedMs;
    try {
      table = load();
    } catch (error) {
      log(errorText(error));
    }
    return table;
  };
  return { find: (image) => current().find(image), patterns: () => current().patterns() };
}

/** Puts values in the place of `${NAME}`; names it does not know stay as they are. */
export function substitute(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{([A-Z_]+)\}/g, (whole, name: string) => values[name] ?? whole);
}
