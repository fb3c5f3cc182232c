import type { Message } from "esbuild";

/** A message of the bundler or the type checker, ready for people. Line and column count from 1. */
export interface Finding {
  readonly text: string;
  readonly place?: { readonly file: string; readonly line: number; readonly column: number } | undefined;
  /** The source line, unless it must not be shown. */
  readonly lineText?: string | undefined;
  readonly length?: number;
  readonly notes: readonly string[];
}

const MAX_LINE = 160;

/** `isInside` says whether a file belongs to the source: lines of others (read through a hostile config) are never shown. */
export function findingOf(message: Message, isInside: (file: string) => boolean): Finding {
  const { location } = message;
  const notes = message.notes.map((note) => note.text).filter((text) => text !== "");
  if (!location || location.file === "") return { text: message.text, notes };
  const before = Buffer.from(location.lineText).subarray(0, location.column).toString("utf8");
  const file = location.file.replace(/^[\w-]+:(?!\/\/)/, "");
  return {
    text: message.text,
    place: { file, line: location.line, column: before.length + 1 },
    lineText: isInside(file) ? location.lineText : undefined,
    length: location.length,
    notes,
  };
}

/** `file:line:column: reason` in one line. */
export function sentenceOf(finding: Finding): string {
  const text = finding.text.replaceAll(/\s*\n\s*/g, " ");
  return finding.place
    ? `${finding.place.file}:${finding.place.line}:${finding.place.column}: ${text}`
    : text;
}

/** The sentence, the source line with a mark under the place, and the notes. */
export function framed(finding: Finding, severity: "error" | "warning"): string[] {
  const lines = [`${severity}: ${sentenceOf(finding)}`];
  if (finding.place && finding.lineText !== undefined) {
    const { line, column } = finding.place;
    const start = Math.max(0, column - 1 - MAX_LINE / 2);
    const shown = finding.lineText.slice(start, start + MAX_LINE).replaceAll("\t", " ");
    const gutter = String(line);
    const marks = "^".repeat(Math.max(1, Math.min(finding.length ?? 1, shown.length - (column - 1 - start))));
    lines.push(
      `  ${gutter} | ${shown}`,
      `  ${" ".repeat(gutter.length)} | ${" ".repeat(column - 1 - start)}${marks}`,
    );
  }
  for (const note of finding.notes) lines.push(`  ${note.replaceAll(/\s*\n\s*/g, " ")}`);
  return lines;
}
