import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import { styleText } from "node:util";

const ROOT = join(import.meta.dirname, "..", "..");
const DENO = join(ROOT, "node_modules", ".bin", "deno");

const load = (): string =>
  loadavg()
    .map((value) => value.toFixed(2))
    .join(" ");

function denoVersion(): string {
  if (!existsSync(DENO)) return "Deno not installed";
  return spawnSync(DENO, ["--version"], { encoding: "utf8" }).stdout.split(/[\n(]/)[0]?.trim() ?? "Deno";
}

/** Prints what a reader needs to compare numbers of two machines. */
export function printConditions(title: string): void {
  const [cpu] = cpus();
  console.log(`\n${styleText("bold", title)}`);
  console.log(
    `${cpus().length} x ${cpu?.model.trim() ?? "unknown CPU"}, ${(totalmem() / 2 ** 30).toFixed(1)} GiB, Node ${process.version}, ${denoVersion()}, Linux ${spawnSync("uname", ["-r"], { encoding: "utf8" }).stdout.trim()}`,
  );
  console.log(`load average before: ${load()}; priority ${priority()}\n`);
}

export const printLoadAfter = (): void => console.log(`\nload average after: ${load()}`);

const priority = (): string => spawnSync("nice", { encoding: "utf8" }).stdout.trim();

/** Prints rows under their columns; the first row holds the column names. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const [index, row] of rows.entries()) {
    console.log(`| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`);
    if (index === 0) console.log(`|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`);
  }
}

/** The value below which `share` (0..1) of the values lie. */
export const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ??
  Number.NaN;

export const median = (values: readonly number[]): number => percentile(values, 0.5);

/** `p50, p95, worst` with one digit. */
export const spread = (values: readonly number[]): [string, string, string] => [
  percentile(values, 0.5).toFixed(1),
  percentile(values, 0.95).toFixed(1),
  Math.max(...values).toFixed(1),
];
