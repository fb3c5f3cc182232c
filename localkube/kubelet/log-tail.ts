import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { parseCriLine } from "./cri-log-reader.ts";

const MAX_LINES = 80;
const MAX_BYTES = 2048;
const READ_BYTES = 16 * 1024;

/** The end of a CRI log as plain text, at most 80 lines and 2 KiB; undefined when there is none. */
export function readLogTail(file: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch {
    return undefined;
  }
  try {
    const { size } = fstatSync(fd);
    const buffer = Buffer.alloc(Math.min(size, READ_BYTES));
    readSync(fd, buffer, 0, buffer.length, size - buffer.length);
    const lines = buffer
      .toString("latin1")
      .split("\n")
      .slice(-MAX_LINES - 1);
    const text = lines
      .map((line) => parseCriLine(Buffer.from(line, "latin1")))
      .map((record) => (record ? `${record.text.toString("utf8")}${record.ends ? "\n" : ""}` : ""))
      .join("");
    return text === "" ? undefined : text.slice(-MAX_BYTES);
  } finally {
    closeSync(fd);
  }
}
