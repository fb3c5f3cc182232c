import { setFlagsFromString } from "node:v8";
import { TARGET_BYTE } from "./byte-class.ts";
import { normalizePath } from "./target.ts";

/** A part of a template between two slashes, or its last part when that spans segments. */
export type TemplatePart =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "variable" }
  /** Matches within one segment. */
  | {
      readonly kind: "pattern";
      readonly source: string;
      readonly regex: RegExp;
      readonly groups: readonly number[];
    }
  /** Matches all the rest of the path. */
  | {
      readonly kind: "rest";
      readonly source: string;
      readonly regex: RegExp;
      readonly groups: readonly number[];
    };

export interface Template {
  readonly parts: readonly TemplatePart[];
  /** Names of the variables in order. */
  readonly names: readonly string[];
  /** True when there is no variable. */
  readonly literal: boolean;
  /** Normalised path, when `literal`. */
  readonly path: string;
}

interface Piece {
  readonly literal: string;
  readonly variable: { readonly name: string; readonly source: string | undefined } | undefined;
}

const NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,62}$/;
const MAX_TEMPLATE = 2048;
const MAX_REPEAT = 256;
/** Highest count that the linear-time engine takes by itself. */
const ENGINE_REPEAT = 16;
const ATOM = /\[(?:\\.|[^\]\\])*\]|\\.|./gs;
const REPEATED_ATOM = /(\[(?:\\.|[^\]\\])*\]|\\.|[^\\()[\]{}*+?|^$])\{(\d+)(,(\d*))?\}/g;
/** V8's flag for its linear-time engine. */
const LINEAR: string = "l";
let linearEngine = false;

/**
 * Reads a route's path in the form of the reference system's router: `/a/{id}`, `/a/{id:[0-9]+}`, `/v{major}-{minor}`, `/files/{rest:.*}`.
 * Patterns match in linear time, as there: no backreferences and no look-around.
 * @returns the template, or a sentence saying why it cannot be compiled
 */
export function parseTemplate(path: string): Template | string {
  const fail = (problem: string): string => `Cannot compile path "${path}": ${problem}`;
  if (!path.startsWith("/")) return fail('it must start with "/"');
  if (path.length > MAX_TEMPLATE)
    return fail(`it must have at most ${MAX_TEMPLATE} characters, got ${path.length}`);
  const pieces = splitPieces(path);
  if (typeof pieces === "string") return fail(pieces);
  const names: string[] = [];
  for (const { variable } of pieces) {
    if (variable === undefined) continue;
    if (!NAME.test(variable.name)) {
      return fail(`variable "${variable.name}" must be letters, digits, _ and -, not starting with a digit`);
    }
    if (names.includes(variable.name)) return fail(`variable "${variable.name}" occurs twice`);
    names.push(variable.name);
  }
  const literals = pieces.map((piece) => normalizeLiteral(piece.literal));
  const invalid = literals.indexOf(undefined);
  if (invalid >= 0) {
    return fail(
      `"${pieces[invalid]?.literal}" contains a dot segment, a backslash, "?", "#", a space or an invalid escape`,
    );
  }
  if (names.length === 0) {
    const text = literals[0] ?? "/";
    return {
      parts: segments(text).map((segment) => ({ kind: "literal", text: segment })),
      names,
      literal: true,
      path: text,
    };
  }
  const clean = pieces.map((piece, index) => ({ literal: literals[index] ?? "", variable: piece.variable }));
  const parts = compileParts(clean);
  return typeof parts === "string" ? fail(parts) : { parts, names, literal: false, path: "" };
}

function segments(path: string): string[] {
  return path.slice(1).split("/");
}

/** Literal text and the variable behind it, in turn. */
function splitPieces(path: string): Piece[] | string {
  const pieces: Piece[] = [];
  let at = 0;
  while (at < path.length) {
    const open = path.indexOf("{", at);
    const text = path.slice(at, open === -1 ? path.length : open);
    if (text.includes("}")) return 'a "}" has no "{" before it';
    if (open === -1) {
      pieces.push({ literal: text, variable: undefined });
      break;
    }
    const close = closingBrace(path, open);
    if (close === -1) return 'variable is not closed, expected "}"';
    const inner = path.slice(open + 1, close);
    const colon = inner.indexOf(":");
    const source = colon === -1 ? undefined : inner.slice(colon + 1);
    if (source === "") return `variable "${inner}" has an empty pattern after ":"`;
    pieces.push({ literal: text, variable: { name: colon === -1 ? inner : inner.slice(0, colon), source } });
    at = close + 1;
  }
  return pieces;
}

/** Braces of counted repetitions stand within a variable's pattern. */
function closingBrace(path: string, open: number): number {
  let depth = 0;
  for (let i = open; i < path.length; i++) {
    if (path[i] === "{") depth++;
    else if (path[i] === "}" && --depth === 0) return i;
  }
  return -1;
}

function normalizeLiteral(text: string): string | undefined {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80 && (TARGET_BYTE[code] === 0 || code === 0x3f)) return undefined;
  }
  // Beyond ASCII a path is matched in its escaped form, which is that of its UTF-8 bytes.
  return normalizePath(Buffer.from(text, "utf8").toString("latin1"));
}

function compileParts(pieces: readonly Piece[]): TemplatePart[] | string {
  const parts: TemplatePart[] = [];
  let current: Piece[] = [];
  const flush = (): string | undefined => {
    const part = compileSegment(current, false);
    current = [];
    if (typeof part === "string") return part;
    parts.push(part);
    return undefined;
  };
  for (let index = 0; index < pieces.length; index++) {
    const piece = pieces[index];
    if (piece === undefined) continue;
    const texts = piece.literal.split("/");
    for (let k = 0; k < texts.length; k++) {
      // Every slash but the very first of the path ends a segment.
      if (k > 0 && !(index === 0 && k === 1)) {
        const problem = flush();
        if (problem !== undefined) return problem;
      }
      const text = texts[k] ?? "";
      const variable = k === texts.length - 1 ? piece.variable : undefined;
      if (variable?.source !== undefined && spansSegments(variable.source)) {
        const rest = [...current, { literal: text, variable }, ...pieces.slice(index + 1)];
        const part = compileSegment(rest, true);
        return typeof part === "string" ? part : [...parts, part];
      }
      if (text !== "" || variable !== undefined) current.push({ literal: text, variable });
    }
  }
  const problem = flush();
  return problem ?? parts;
}

function compileSegment(pieces: readonly Piece[], rest: boolean): TemplatePart | string {
  const [only] = pieces;
  if (!rest && pieces.every((piece) => piece.variable === undefined)) {
    return { kind: "literal", text: pieces.map((piece) => piece.literal).join("") };
  }
  if (!rest && pieces.length === 1 && only?.literal === "" && only.variable?.source === undefined)
    return { kind: "variable" };
  let source = "";
  const groups: number[] = [];
  let group = 1;
  for (const { literal, variable } of pieces) {
    source += literal.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);
    if (variable === undefined) continue;
    const inner = variable.source ?? "[^/]+";
    const count = captureCount(inner);
    if (count === undefined) return patternProblem(variable.name, inner);
    groups.push(group);
    group += 1 + count;
    source += `(${inner})`;
  }
  const regex = linearRegex(source);
  if (regex === undefined) {
    const variable = pieces.find((piece) => piece.variable?.source !== undefined)?.variable;
    return patternProblem(variable?.name ?? "", variable?.source ?? source);
  }
  return { kind: rest ? "rest" : "pattern", source, regex, groups };
}

function patternProblem(name: string, source: string): string {
  return `pattern "${source}" of variable "${name}" must be a regular expression without backreferences, look-around and repetitions above ${MAX_REPEAT}`;
}

/** Capture groups that a pattern has by itself, undefined when it is not a pattern. */
function captureCount(source: string): number | undefined {
  // On its own first: an unbalanced parenthesis must not pair with those put around it.
  if (compileLinear(expandRepeats(source)) === undefined) return undefined;
  const match = compileLinear(`${expandRepeats(source)}|`)?.exec("");
  return match === undefined || match === null ? undefined : match.length - 1;
}

/** Whether any atom of a pattern matches a slash: only then may its variable reach beyond its segment. */
function spansSegments(source: string): boolean {
  return (source.match(ATOM) ?? []).some((atom) => linearRegex(atom)?.test("/") === true);
}

/** Writes counted repetitions of single atoms out in steps that the linear-time engine takes. */
function expandRepeats(source: string): string {
  return source.replaceAll(
    REPEATED_ATOM,
    (whole, atom: string, least: string, comma: string | undefined, most: string | undefined) => {
      const low = Number(least);
      const high = comma === undefined ? low : most === undefined || most === "" ? low : Number(most);
      if (high <= ENGINE_REPEAT || high > MAX_REPEAT || low > high) return whole;
      const tail = comma !== undefined && (most === undefined || most === "") ? `${atom}*` : "";
      return (
        repeat(atom, low, (count) => `{${count}}`) +
        repeat(atom, high - low, (count) => `{0,${count}}`) +
        tail
      );
    },
  );
}

function repeat(atom: string, count: number, quantifier: (count: number) => string): string {
  const rest = count % ENGINE_REPEAT;
  const full = (atom + quantifier(ENGINE_REPEAT)).repeat((count - rest) / ENGINE_REPEAT);
  return rest === 0 ? full : full + atom + quantifier(rest);
}

/** Matches all of a string, or undefined when the pattern is not valid. */
function linearRegex(source: string): RegExp | undefined {
  return compileLinear(`^(?:${expandRepeats(source)})$`);
}

/** Compiles for V8's linear-time engine: tenants write these patterns, and a backtracking one could stop the router. */
function compileLinear(source: string): RegExp | undefined {
  if (!linearEngine) {
    setFlagsFromString("--enable-experimental-regexp-engine");
    linearEngine = true;
  }
  try {
    return new RegExp(source, LINEAR);
  } catch {
    return undefined;
  }
}
