import { stringify } from "yaml";
import type { Flag } from "./command.ts";
import type { CliContext } from "./context.ts";

/** `-o` of every list and get. */
export const OUTPUT_FLAG = {
  type: "string",
  short: "o",
  aliases: ["o"],
  help: "Output format",
  choices: ["json", "yaml", "wide", "name"],
} as const satisfies Flag;

export interface Column<Row> {
  header: string;
  value: (row: Row) => string | number | boolean | undefined;
  /** Only with `-o wide`. */
  wide?: boolean;
}

/** A message in one line of a table. */
export function shortText(text: string, most = 100): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}

/** Text in columns, two spaces apart; no trailing blanks. */
export function table(headers: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headers.map((header, at) =>
    Math.max(header.length, ...rows.map((row) => row[at]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join("  ")
      .trimEnd();
  return [headers, ...rows].map((cells) => `${line(cells)}\n`).join("");
}

interface Named {
  kind?: string | undefined;
  metadata: { name: string };
}

/** Prints objects in the format asked for. `single` prints one object instead of a list. */
export function printObjects<Row extends Named>(
  context: CliContext,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  options: { output: string | undefined; kind: string; single?: boolean },
): void {
  const { output } = options;
  if (output === "json" || output === "yaml") {
    const value = options.single ? rows[0] : { apiVersion: "v1", kind: "List", items: rows };
    context.out(
      output === "json"
        ? `${JSON.stringify(value, null, 2)}\n`
        : stringify(value, { lineWidth: 0, aliasDuplicateObjects: false }),
    );
    return;
  }
  if (output === "name") {
    for (const row of rows) context.out(`${options.kind}/${row.metadata.name}\n`);
    return;
  }
  if (rows.length === 0) {
    context.note(`No ${options.kind} found`);
    return;
  }
  const shown = columns.filter((column) => !column.wide || output === "wide");
  context.out(
    table(
      shown.map((column) => column.header),
      rows.map((row) => shown.map((column) => String(column.value(row) ?? ""))),
    ),
  );
}

/** How long ago, as kubectl says it: `12s`, `5m`, `3h`, `2d`. */
export function age(time: string | undefined, now: number = Date.now()): string {
  if (!time) return "";
  const seconds = Math.max(0, Math.floor((now - Date.parse(time)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** Whether text for people may have colours: see no-color.org; a terminal that can do nothing gets none either. */
export const isColourful = ({ interactive, env }: Pick<CliContext, "interactive" | "env">): boolean =>
  interactive && !env.NO_COLOR && env.TERM !== "dumb";
