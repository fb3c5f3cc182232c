import { randomBytes } from "node:crypto";
import { UsageError } from "./command.ts";

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/** @throws {UsageError} when it is no resource name. */
export function checkName(name: string, flag = "--name"): string {
  if (name.length > 63 || !NAME.test(name))
    throw new UsageError(
      `${flag} must be up to 63 lower-case letters, digits and -, starting and ending with a letter or digit, got "${name}"`,
    );
  return name;
}

/** A name for an object that the user did not name. */
export const generatedName = (prefix: string): string =>
  `${prefix.slice(0, 54)}-${randomBytes(4).toString("hex")}`;

/** `k=v,k2=v2` of --labels. What has no `=` belongs to the value before it: `servers=a:4222,b:4222` is one pair. @throws {UsageError} */
export function parsePairs(text: string | undefined, flag: string): Record<string, string> {
  const pairs: Record<string, string> = {};
  let last: string | undefined;
  for (const part of text?.split(",").filter((piece) => piece !== "") ?? []) {
    const equals = part.indexOf("=");
    if (equals === 0 || (equals < 0 && last === undefined))
      throw new UsageError(`${flag} must be key=value, got "${part}"`);
    if (equals < 0 && last !== undefined) {
      pairs[last] = `${pairs[last] ?? ""},${part}`;
      continue;
    }
    last = part.slice(0, equals).trim();
    pairs[last] = part.slice(equals + 1);
  }
  return pairs;
}

/** The same for flags that are repeated. */
export const parsePairList = (texts: readonly string[], flag: string): Record<string, string> =>
  Object.assign({}, ...texts.map((text) => parsePairs(text, flag)));
