/** A path as its segments, in the grammar of RFC 9535 without functions. */
export interface JsonPath {
  readonly text: string;
  readonly segments: readonly Segment[];
}
export interface Segment {
  readonly descendants: boolean;
  readonly selectors: readonly Selector[];
}
export type Selector =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "index"; readonly index: number }
  | { readonly kind: "wildcard" }
  | { readonly kind: "slice"; readonly start?: number; readonly end?: number; readonly step: number }
  | { readonly kind: "filter"; readonly test: FilterTest };
export type FilterTest =
  | { readonly kind: "and" | "or"; readonly parts: readonly FilterTest[] }
  | { readonly kind: "not"; readonly part: FilterTest }
  | { readonly kind: "exists"; readonly query: FilterQuery }
  | {
      readonly kind: "compare";
      readonly operator: Comparison;
      readonly left: Operand;
      readonly right: Operand;
    };
export type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=";
export type Operand = FilterQuery | { readonly kind: "literal"; readonly value: Literal };
export type Literal = string | number | boolean | null;
export interface FilterQuery {
  readonly kind: "query";
  /** From the document, or from the value that is tested. */
  readonly root: boolean;
  readonly segments: readonly Segment[];
}

/** Nested brackets and parentheses beyond this are refused, so that no path can exhaust the stack. */
const MAX_DEPTH = 16;
const NAME = /[\p{L}_\u0080-\u{10ffff}][\p{L}\p{N}_\u0080-\u{10ffff}-]*/uy;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const INTEGER = /-?(?:0|[1-9]\d*)/y;
const OPERATOR = /==|!=|<=|>=|<|>/y;

/**
 * Reads a path such as `$.order.items[0].id`, `$['odd key']`, `$.items[?(@.price > 10)]`.
 * @throws {TypeError} naming the path, the place and what was expected there.
 */
export function parseJsonPath(text: string): JsonPath {
  if (!text.startsWith("$"))
    throw new TypeError(`Cannot read the path "${text}": it must start with $, such as $.order.id`);
  const reader = new Reader(text);
  reader.at = 1;
  const segments = readSegments(reader, 0);
  if (reader.at < text.length) throw reader.error("., [ or the end");
  return { text, segments };
}

class Reader {
  at = 0;
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  skipBlanks(): void {
    while (" \t\n\r".includes(this.text[this.at] ?? "x")) this.at++;
  }
  /** Takes `token` if it is next. */
  take(token: string): boolean {
    if (!this.text.startsWith(token, this.at)) return false;
    this.at += token.length;
    return true;
  }
  /** The same after blanks. */
  takeWord(token: string): boolean {
    this.skipBlanks();
    return this.take(token);
  }
  expect(token: string): void {
    if (!this.takeWord(token)) throw this.error(token);
  }
  match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }
  error(expected: string): TypeError {
    return new TypeError(
      `Cannot read the path "${this.text}": expected ${expected} at position ${this.at + 1}`,
    );
  }
}

function readSegments(reader: Reader, depth: number): Segment[] {
  if (depth > MAX_DEPTH) throw reader.error(`at most ${MAX_DEPTH} levels of brackets`);
  const segments: Segment[] = [];
  for (;;) {
    const descendants = reader.take("..");
    if (reader.take("[")) {
      segments.push({ descendants, selectors: readBrackets(reader, depth) });
    } else if (descendants || reader.take(".")) {
      segments.push({ descendants, selectors: [readDotted(reader)] });
    } else return segments;
  }
}

function readDotted(reader: Reader): Selector {
  if (reader.take("*")) return { kind: "wildcard" };
  const name = reader.match(NAME);
  if (name === undefined) throw reader.error("a name or *");
  return { kind: "name", name };
}

function readBrackets(reader: Reader, depth: number): Selector[] {
  const selectors: Selector[] = [];
  do {
    reader.skipBlanks();
    selectors.push(readSelector(reader, depth));
  } while (reader.takeWord(","));
  reader.expect("]");
  return selectors;
}

function readSelector(reader: Reader, depth: number): Selector {
  if (reader.take("*")) return { kind: "wildcard" };
  if (reader.take("?")) return { kind: "filter", test: readOr(reader, depth + 1) };
  const quoted = readString(reader);
  if (quoted !== undefined) return { kind: "name", name: quoted };
  const start = readInteger(reader);
  reader.skipBlanks();
  if (!reader.take(":")) {
    if (start === undefined) throw reader.error("a quoted name, an index, a slice, * or a filter");
    return { kind: "index", index: start };
  }
  reader.skipBlanks();
  const end = readInteger(reader);
  reader.skipBlanks();
  const step = reader.take(":") ? (reader.skipBlanks(), readInteger(reader)) : undefined;
  return {
    kind: "slice",
    ...(start === undefined ? {} : { start }),
    ...(end === undefined ? {} : { end }),
    step: step ?? 1,
  };
}

function readInteger(reader: Reader): number | undefined {
  const digits = reader.match(INTEGER);
  if (digits === undefined) return undefined;
  const value = Number(digits);
  if (!Number.isSafeInteger(value)) throw reader.error("an integer of at most 2^53");
  return value;
}

function readString(reader: Reader): string | undefined {
  const quote = reader.take("'") ? "'" : reader.take('"') ? '"' : undefined;
  if (quote === undefined) return undefined;
  let text = "";
  for (;;) {
    const character = reader.text[reader.at++];
    if (character === undefined) throw reader.error(`the closing ${quote}`);
    if (character === quote) return text;
    text += character === "\\" ? readEscape(reader) : character;
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  "/": "/",
  "\\": "\\",
  "'": "'",
  '"': '"',
};
function readEscape(reader: Reader): string {
  const character = reader.text[reader.at++] ?? "";
  if (character === "u") {
    const digits = reader.text.slice(reader.at, reader.at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw reader.error("four hexadecimal digits");
    reader.at += 4;
    return String.fromCharCode(Number.parseInt(digits, 16));
  }
  const escaped = ESCAPES[character];
  if (escaped === undefined) throw reader.error("an escape such as \\n or \\u00e9");
  return escaped;
}

function readOr(reader: Reader, depth: number): FilterTest {
  const parts = [readAnd(reader, depth)];
  while (reader.takeWord("||")) parts.push(readAnd(reader, depth));
  return parts.length === 1 && parts[0] ? parts[0] : { kind: "or", parts };
}

function readAnd(reader: Reader, depth: number): FilterTest {
  const parts = [readTest(reader, depth)];
  while (reader.takeWord("&&")) parts.push(readTest(reader, depth));
  return parts.length === 1 && parts[0] ? parts[0] : { kind: "and", parts };
}

function readTest(reader: Reader, depth: number): FilterTest {
  if (depth > MAX_DEPTH) throw reader.error(`at most ${MAX_DEPTH} levels of brackets`);
  reader.skipBlanks();
  if (reader.take("!")) return { kind: "not", part: readTest(reader, depth + 1) };
  if (reader.take("(")) {
    const inner = readOr(reader, depth + 1);
    reader.expect(")");
    return inner;
  }
  const left = readOperand(reader, depth);
  reader.skipBlanks();
  const operator = comparisonOf(reader.match(OPERATOR));
  if (operator === undefined) {
    if (left.kind === "literal") throw reader.error("a comparison such as == or >");
    return { kind: "exists", query: left };
  }
  reader.skipBlanks();
  return { kind: "compare", operator, left, right: readOperand(reader, depth) };
}

const COMPARISONS: readonly Comparison[] = ["==", "!=", "<", "<=", ">", ">="];
const comparisonOf = (text: string | undefined): Comparison | undefined =>
  COMPARISONS.find((operator) => operator === text);

function readOperand(reader: Reader, depth: number): Operand {
  for (const [sign, root] of [["@", false] as const, ["$", true] as const])
    if (reader.take(sign)) return { kind: "query", root, segments: readSegments(reader, depth + 1) };
  for (const [word, value] of [["true", true] as const, ["false", false] as const, ["null", null] as const])
    if (reader.take(word)) return { kind: "literal", value };
  const quoted = readString(reader);
  if (quoted !== undefined) return { kind: "literal", value: quoted };
  const number = reader.match(NUMBER);
  if (number === undefined) throw reader.error("@, $, a string, a number, true, false or null");
  return { kind: "literal", value: Number(number) };
}
