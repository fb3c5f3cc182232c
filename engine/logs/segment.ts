import { closeSync, ftruncateSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { LogLine } from "../../api/wire/ops.ts";

/** A stored line: the line, and where it was collected from (`<file identity>@<offset after it>`). */
export interface StoredLine {
  readonly line: LogLine;
  readonly from: string;
}

/** What is known of a segment without reading it. */
export interface SegmentSummary {
  bytes: number;
  lines: number;
  minTime: string;
  maxTime: string;
  /** `namespace/function` of its lines; undefined when they are too many to list. */
  functions: Set<string> | undefined;
}

const MAX_FUNCTIONS = 2_000;

export function emptySummary(): SegmentSummary {
  return { bytes: 0, lines: 0, minTime: "", maxTime: "", functions: new Set() };
}

export function addToSummary(summary: SegmentSummary, line: LogLine, bytes: number): void {
  summary.bytes += bytes;
  summary.lines++;
  if (summary.minTime === "" || line.time < summary.minTime) summary.minTime = line.time;
  if (line.time > summary.maxTime) summary.maxTime = line.time;
  summary.functions?.add(`${line.namespace}/${line.function}`);
  if ((summary.functions?.size ?? 0) > MAX_FUNCTIONS) summary.functions = undefined;
}

/** The file and the offset of a line's `from`. */
export function placeOf(from: string): { readonly file: string; readonly offset: number } | undefined {
  const at = from.lastIndexOf("@");
  const offset = Number(from.slice(at + 1));
  return at > 0 && Number.isSafeInteger(offset) ? { file: from.slice(0, at), offset } : undefined;
}

/** One line of a segment file. */
export function encodeLine({ line, from }: StoredLine): string {
  return `${JSON.stringify({ ...line, _from: from })}\n`;
}

/** Reads one line of a segment file; undefined when it is damaged. */
export function decodeLine(text: string): StoredLine | undefined {
  try {
    const { _from, ...line }: LogLine & { _from: string } = JSON.parse(text);
    return typeof line.time === "string" && typeof line.message === "string"
      ? { line, from: _from }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Texts of the lines of a segment file up to a size, in order. A file that is gone (pruned meanwhile) has none. */
export async function segmentTexts(path: string, bytes: number): Promise<string[]> {
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
  return content.subarray(0, bytes).toString("utf8").split("\n").slice(0, -1);
}

/** Reads a segment again after a restart: cuts a line off that a crash left unfinished, and gives each whole line to `onLine`. */
export function recoverSegment(path: string, onLine: (line: StoredLine) => void): SegmentSummary {
  cutUnfinished(path);
  const summary = emptySummary();
  for (const text of readFileSync(path, "utf8").split("\n").slice(0, -1)) {
    const stored = decodeLine(text);
    const bytes = Buffer.byteLength(text) + 1;
    if (!stored) {
      summary.bytes += bytes;
      continue;
    }
    addToSummary(summary, stored.line, bytes);
    onLine(stored);
  }
  return summary;
}

function cutUnfinished(path: string): void {
  const size = statSync(path).size;
  if (size === 0) return;
  const fd = openSync(path, "r+");
  try {
    const block = Buffer.alloc(64 * 1024);
    for (let end = size; end > 0; ) {
      const from = Math.max(0, end - block.length);
      const read = readSync(fd, block, 0, end - from, from);
      const newline = block.subarray(0, read).lastIndexOf(10);
      if (newline >= 0) {
        if (from + newline + 1 < size) ftruncateSync(fd, from + newline + 1);
        return;
      }
      end = from;
    }
    ftruncateSync(fd, 0);
  } finally {
    closeSync(fd);
  }
}

/** A closed segment's summary as it is kept beside it. */
export function summaryToJson(summary: SegmentSummary): string {
  return JSON.stringify({ ...summary, functions: summary.functions ? [...summary.functions] : null });
}

export function summaryFromJson(text: string): SegmentSummary | undefined {
  try {
    const value: Omit<SegmentSummary, "functions"> & { functions: string[] | null } = JSON.parse(text);
    if (typeof value.bytes !== "number" || typeof value.maxTime !== "string") return undefined;
    return { ...value, functions: Array.isArray(value.functions) ? new Set(value.functions) : undefined };
  } catch {
    return undefined;
  }
}
