import { stripVTControlCharacters } from "node:util";
import type { LogLine } from "../api/wire/ops.ts";

const COLOURS = { debug: 90, info: 36, warn: 33, error: 31 } as const;

/** Drops control characters that could act on the terminal; tabs and line ends stay. */
const printable = (text: string): string =>
  Array.from(stripVTControlCharacters(text))
    .filter((char) => char === "\n" || char === "\t" || (char >= " " && char !== "\u007f"))
    .join("");

/** One log line for people: time, level, message; with `detail` also revision, pod and request id. */
export function formatLogLine(
  line: LogLine,
  options: { detail: boolean; colour: boolean; prefix?: string },
): string {
  const level = line.level.toUpperCase().padEnd(5);
  const shown = options.colour ? `\u001b[${COLOURS[line.level]}m${level}\u001b[0m` : level;
  const origin = options.detail
    ? ` [${line.revision.slice(0, 8)} ${line.pod}${line.requestId ? ` ${line.requestId}` : ""}]`
    : "";
  // A stack mostly begins with the message.
  const trace = line.stack?.startsWith(`${line.message}\n`)
    ? line.stack.slice(line.message.length + 1)
    : (line.stack ?? "");
  const stack = trace && !line.message.includes(trace) ? `\n${printable(trace)}` : "";
  return `${line.time} ${options.prefix ? `${options.prefix} ` : ""}${shown}${origin} ${printable(line.message)}${stack}`;
}
