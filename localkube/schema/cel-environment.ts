import { isIPv4, isIPv6 } from "node:net";
import { Environment } from "@marcbachmann/cel-js";
import { formatFault } from "./formats.ts";
import { canonicalJson } from "./plain-object.ts";
import { parseQuantity } from "./quantity.ts";
import { compilePattern } from "./validate.ts";

class Quantity {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** As Go takes URLs apart: a default port and an empty path stay what they are. */
const URL_PARTS = /^(?:([A-Za-z][\w+.-]*):)?(?:\/\/(?:[^@/?#]*@)?([^/?#]*))?([^?#]*)/;
const PORT = /:(\d*)$/;
const NO_HOST = "http://no-host.invalid";

class CelUrl {
  readonly scheme: string;
  readonly host: string;
  readonly path: string;
  constructor(text: string) {
    const [, scheme = "", host = "", path = ""] = URL_PARTS.exec(text) ?? [];
    this.scheme = scheme.toLowerCase();
    this.host = host;
    this.path = path;
  }
}

type Comparable = bigint | number | string | boolean | Date;

const compare = (a: Comparable, b: Comparable): number => (a < b ? -1 : a > b ? 1 : 0);

const identity = (value: unknown): string =>
  canonicalJson(
    JSON.parse(
      JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? `${item}n` : item)) ??
        "null",
    ),
  );

function registerLists(env: Environment): void {
  env.registerFunction("list.isSorted(): bool", (list: Comparable[]) =>
    list.every((item, index) => index === 0 || compare(list[index - 1] ?? item, item) <= 0),
  );
  env.registerFunction("list.sum(): dyn", (list: (bigint | number)[]) =>
    list.some((item) => typeof item === "number")
      ? list.reduce((sum: number, item) => sum + Number(item), 0)
      : list.reduce((sum: bigint, item) => sum + BigInt(item), 0n),
  );
  const extreme = (list: Comparable[], sign: number, name: string): Comparable => {
    const [first, ...others] = list;
    if (first === undefined) throw new Error(`${name}() called on an empty list`);
    return others.reduce((best, item) => (compare(item, best) * sign > 0 ? item : best), first);
  };
  env.registerFunction("list.min(): dyn", (list: Comparable[]) => extreme(list, -1, "min"));
  env.registerFunction("list.max(): dyn", (list: Comparable[]) => extreme(list, 1, "max"));
  env.registerFunction("list.indexOf(dyn): int", (list: unknown[], wanted: unknown) =>
    BigInt(list.findIndex((item) => identity(item) === identity(wanted))),
  );
  env.registerFunction("list.lastIndexOf(dyn): int", (list: unknown[], wanted: unknown) =>
    BigInt(list.findLastIndex((item) => identity(item) === identity(wanted))),
  );
  env.registerFunction("list.distinct(): list", (list: unknown[]) => [
    ...new Map(list.map((item) => [identity(item), item])).values(),
  ]);
}

function registerStrings(env: Environment): void {
  env.registerFunction("string.replace(string, string): string", (text: string, from: string, to: string) =>
    text.replaceAll(from, () => to),
  );
  env.registerFunction(
    "string.replace(string, string, int): string",
    (text: string, from: string, to: string, limit: bigint) => {
      if (limit < 0n) return text.replaceAll(from, () => to);
      let left = limit;
      return text.replaceAll(from, (found) => (left-- > 0n ? to : found));
    },
  );
  env.registerFunction(
    "string.find(string): string",
    (text: string, pattern: string) => compilePattern(pattern).exec(text)?.[0] ?? "",
  );
  env.registerFunction("string.findAll(string): list<string>", (text: string, pattern: string) => {
    const compiled = compilePattern(pattern);
    return [...text.matchAll(new RegExp(compiled.source, `${compiled.flags}g`))].map((match) => match[0]);
  });
  env.registerFunction(
    "string.charAt(int): string",
    (text: string, index: bigint) => Array.from(text)[Number(index)] ?? "",
  );
  env.registerFunction("string.reverse(): string", (text: string) => Array.from(text).toReversed().join(""));
  env.registerFunction("isURL(string): bool", (text: string) => URL.canParse(text) || text.startsWith("/"));
  env.registerFunction("isIP(string): bool", (text: string) => isIPv4(text) || isIPv6(text));
  env.registerFunction("isCIDR(string): bool", (text: string) => formatFault("cidr", text) === undefined);
}

function registerQuantities(env: Environment): void {
  env.registerType("kubernetes.Quantity", Quantity);
  env.registerFunction("isQuantity(string): bool", (text: string) => parseQuantity(text) !== undefined);
  env.registerFunction("quantity(string): kubernetes.Quantity", (text: string) => {
    const value = parseQuantity(text);
    if (value === undefined) throw new Error(`quantity "${text}" cannot be parsed`);
    return new Quantity(value);
  });
  const relation = (name: string, test: (a: number, b: number) => boolean): void => {
    env.registerFunction(
      `kubernetes.Quantity.${name}(kubernetes.Quantity): bool`,
      (a: Quantity, b: Quantity) => test(a.value, b.value),
    );
  };
  relation("isGreaterThan", (a, b) => a > b);
  relation("isLessThan", (a, b) => a < b);
  env.registerFunction(
    "kubernetes.Quantity.compareTo(kubernetes.Quantity): int",
    (a: Quantity, b: Quantity) => BigInt(compare(a.value, b.value)),
  );
  env.registerFunction("kubernetes.Quantity.sign(): int", (a: Quantity) => BigInt(Math.sign(a.value)));
  env.registerFunction("kubernetes.Quantity.asInteger(): int", (a: Quantity) => BigInt(Math.trunc(a.value)));
  env.registerFunction("kubernetes.Quantity.asApproximateFloat(): double", (a: Quantity) => a.value);
}

function registerUrls(env: Environment): void {
  env.registerType("kubernetes.URL", CelUrl);
  env.registerFunction("url(string): kubernetes.URL", (text: string) => {
    // A path alone is a URL too; a base of any name makes it one here.
    if (!URL.canParse(text, text.startsWith("/") ? NO_HOST : undefined))
      throw new Error(`URL parse error: "${text}"`);
    return new CelUrl(text);
  });
  env.registerFunction("kubernetes.URL.getScheme(): string", ({ scheme }: CelUrl) => scheme);
  env.registerFunction("kubernetes.URL.getHost(): string", ({ host }: CelUrl) => host);
  env.registerFunction("kubernetes.URL.getHostname(): string", ({ host }: CelUrl) =>
    host.replace(PORT, "").replace(/^\[(.*)\]$/, "$1"),
  );
  env.registerFunction("kubernetes.URL.getPort(): string", ({ host }: CelUrl) => PORT.exec(host)?.[1] ?? "");
  env.registerFunction("kubernetes.URL.getEscapedPath(): string", ({ path }: CelUrl) => path);
}

/** The language of CRD rules: CEL with the functions that Kubernetes adds to it. `oldSelf` may be an optional. */
export function celEnvironment(oldSelfType: "dyn" | "optional<dyn>"): Environment {
  const env = new Environment({
    unlistedVariablesAreDyn: false,
    homogeneousAggregateLiterals: false,
    enableOptionalTypes: true,
  });
  registerLists(env);
  registerStrings(env);
  registerQuantities(env);
  registerUrls(env);
  env.registerVariable("self", "dyn");
  env.registerVariable("oldSelf", oldSelfType);
  return env;
}
