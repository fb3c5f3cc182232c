import type { FunctionReference } from "../api/kinds/index.ts";
import { type Flags, type FlagValues, UsageError } from "./command.ts";

/** Flags by which a trigger says what it calls, beside `--function`. */
export const TARGET_FLAGS = {
  weight: { type: "integers", help: "Weight of each --function in percent", min: 0, max: 100 },
  "function-alias": { type: "string", help: "Alias of the function" },
  "function-version": { type: "string", help: "Version of the function" },
} as const satisfies Flags;
type TargetValues = FlagValues<typeof TARGET_FLAGS>;

/** What the flags say is to be called. @throws {UsageError} */
export function functionRef(names: readonly string[], flags: TargetValues): FunctionReference {
  const [name] = names;
  if (name === undefined) throw new UsageError("--function is required: Function to call");
  if (flags["function-alias"] && flags["function-version"])
    throw new UsageError("--function-alias and --function-version exclude each other");
  if (flags.weight.length > 0 && (flags["function-alias"] || flags["function-version"]))
    throw new UsageError(
      "--weight splits between functions and excludes --function-alias and --function-version: `isotope alias create --weight` splits between versions",
    );
  if (new Set(names).size < names.length)
    throw new UsageError(`--function must name different functions, got "${names.join('", "')}"`);
  const qualifiers = {
    ...(flags["function-alias"] ? { alias: flags["function-alias"] } : {}),
    ...(flags["function-version"] ? { version: flags["function-version"] } : {}),
  };
  if (names.length === 1 && flags.weight.length === 0) return { type: "name", name, ...qualifiers };
  if (names.length !== flags.weight.length)
    throw new UsageError(
      `--weight must be given once per --function, got ${flags.weight.length} for ${names.length}`,
    );
  const total = flags.weight.reduce((sum, weight) => sum + weight, 0);
  if (total !== 100) throw new UsageError(`--weight must add up to 100, got ${total}`);
  return {
    type: "function-weights",
    name,
    functionweights: Object.fromEntries(names.map((each, at) => [each, flags.weight[at] ?? 0])),
  };
}

/** The same as a column shows it. */
export const targetText = ({ type, name, alias, version, functionweights }: FunctionReference): string =>
  functionweights
    ? Object.entries(functionweights)
        .map(([each, weight]) => `${each}:${weight}`)
        .join(",")
    : `${type === "workflow" ? "workflow " : ""}${[name, alias ?? version].filter(Boolean).join(":")}`;
