import { NAME_BYTE, VALUE_BYTE } from "./byte-class.ts";
import { FIRST_HOP, type HeadParser, OTHER } from "./head-parser.ts";
import type { HeaderFilter, HeaderRule } from "./types.ts";

/**
 * Which headers do not pass. Most names are let through by their first letter alone; only the rest are compared in full.
 */
export class CompiledHeaderFilter implements HeaderFilter {
  readonly #strip: ReadonlySet<string>;
  readonly #keep: ReadonlySet<string>;
  readonly #prefixes: readonly string[];
  /** 1 for (lower-case) first letters of what might be stripped. */
  readonly #letters = new Uint8Array(256);

  constructor(rule: HeaderRule) {
    this.#strip = new Set(rule.strip);
    this.#keep = new Set(rule.keep);
    this.#prefixes = rule.stripPrefixes ?? [];
    for (const name of [...this.#strip, ...this.#prefixes]) this.#letters[name.charCodeAt(0)] = 1;
  }

  strips(name: string): boolean {
    const lower = name.toLowerCase();
    if (this.#strip.has(lower)) return true;
    return this.#prefixes.some((prefix) => lower.startsWith(prefix)) && !this.#keep.has(lower);
  }

  /** Whether a name with this first byte needs `strips`. */
  concerns(byte: number): boolean {
    return this.#letters[NAME_BYTE[byte]!] === 1;
  }
}

/**
 * @param rule names and prefixes in lower case
 * @throws TypeError for a name in another form
 */
export function compileHeaderFilter(rule: HeaderRule): HeaderFilter {
  for (const name of [...rule.strip, ...(rule.stripPrefixes ?? []), ...(rule.keep ?? [])]) {
    if (name === "" || name !== name.toLowerCase()) {
      throw new TypeError(
        `Cannot compile header filter: names must be lower case and not empty, got "${name}"`,
      );
    }
  }
  return new CompiledHeaderFilter(rule);
}

/** Whether a string may be written as a header value: HTAB, space, visible ASCII and latin1, nothing that ends a line. */
export function isHeaderValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code > 255 || VALUE_BYTE[code] !== 1) return false;
  }
  return true;
}

/** Whether a string is a token, and so may be a header name. */
export function isHeaderName(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code > 255 || NAME_BYTE[code] === 0) return false;
  }
  return name.length > 0;
}

/**
 * The header lines of a head that may pass on, as written, neighbours copied as one run.
 * @param named names listed in `Connection`, which end at this hop; undefined when it lists none
 */
export function passingLines(
  parser: HeadParser,
  head: string,
  filter: CompiledHeaderFilter,
  named: ReadonlySet<string> | undefined,
): string {
  const { spans, kinds, count } = parser;
  let out = "";
  let run = parser.headersStart;
  for (let index = 0; index < count; index++) {
    const start = spans[index << 2]!;
    const kind = kinds[index]!;
    if (kind === OTHER) {
      if (named === undefined && !filter.concerns(head.charCodeAt(start))) continue;
      const name = head.slice(start, spans[(index << 2) + 1]);
      if (!filter.strips(name) && named?.has(name.toLowerCase()) !== true) continue;
    } else if (kind < FIRST_HOP) continue;
    if (start > run) out += head.slice(run, start);
    run = index + 1 < count ? spans[(index + 1) << 2]! : parser.headersEnd;
  }
  if (run < parser.headersEnd)
    out = out === "" ? head.slice(run, parser.headersEnd) : out + head.slice(run, parser.headersEnd);
  return out;
}
