import { expect, it } from "vitest";
import { COMPLETE, HeadParser } from "./head-parser.ts";
import {
  CompiledHeaderFilter,
  compileHeaderFilter,
  isHeaderName,
  isHeaderValue,
  passingLines,
} from "./header-filter.ts";
import { DEFAULT_LIMITS } from "./listener.ts";

const RULE = {
  strip: ["forwarded"],
  stripPrefixes: ["x-isotope-", "x-forwarded-"],
  keep: ["x-isotope-kept"],
};

function passing(lines: string, named?: ReadonlySet<string>): string {
  const parser = new HeadParser(false, DEFAULT_LIMITS);
  const head = `GET / HTTP/1.1\r\n${lines}\r\n`;
  const bytes = Buffer.from(head, "latin1");
  expect(parser.parse(bytes, 0, bytes.length)).toBe(COMPLETE);
  return passingLines(parser, head, new CompiledHeaderFilter(RULE), named);
}

it("keeps lines as they were written and drops what must not pass, wherever it stands", () => {
  expect(
    passing(
      "Host: a\r\nX-Isotope-Pod: 1\r\nAccept:  */* \r\nFORWARDED: x\r\nx-isotope-KEPT: 1\r\nX-Other: 2\r\nx-forwarded-for: 1\r\n",
    ),
  ).toBe("Host: a\r\nAccept:  */* \r\nx-isotope-KEPT: 1\r\nX-Other: 2\r\n");
  expect(passing("Forwarded: x\r\n")).toBe("");
  expect(passing("")).toBe("");
  expect(passing("Connection: close\r\nTE: x\r\nA: 1\r\nKeep-Alive: 1\r\n")).toBe("A: 1\r\n");
});

it("drops what Connection lists, but never Host", () => {
  expect(passing("Host: a\r\nX-Own: 1\r\nB: 2\r\n", new Set(["x-own", "host"]))).toBe("Host: a\r\nB: 2\r\n");
});

it("grows with the number of headers", () => {
  const lines = Array.from({ length: 99 }, (_, index) => `n${index}: ${index}\r\n`).join("");
  expect(passing(lines)).toBe(lines);
});

it("refuses rules that could never match", () => {
  expect(() => compileHeaderFilter({ strip: ["Forwarded"] })).toThrow(
    'names must be lower case and not empty, got "Forwarded"',
  );
});

it("knows what may be written", () => {
  expect([
    isHeaderValue("a\tb é"),
    isHeaderValue("a\r\nb"),
    isHeaderValue("\0"),
    isHeaderValue("€"),
    isHeaderValue(""),
  ]).toEqual([true, false, false, false, true]);
  expect([isHeaderName("x-a"), isHeaderName("a b"), isHeaderName(""), isHeaderName("é")]).toEqual([
    true,
    false,
    false,
    false,
  ]);
});
