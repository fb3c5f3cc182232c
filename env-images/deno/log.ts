/**
 * The log of a pod: one JSON object a line on standard output.
 *
 * 1. A line has at most `MAX_LINE_BYTES`; what is cut away is counted in it.
 * 2. At most `LINES_PER_SECOND` and `BYTES_PER_SECOND` on average, with a burst of `BURST_SECONDS`; a line says what was dropped.
 * 3. Values of the function's secrets are hidden in messages and stacks (not in what it writes to its output past the console).
 * 4. Writing is synchronous: what was logged before a crash is out.
 */
import { hide } from "./hide.ts";
import { dateNow, jsonStringify, min, NativeDate, stringSlice, uncurryThis, utf8 } from "./primordials.ts";

export const MAX_LINE_BYTES = 64 * 1024;
export const LINES_PER_SECOND = 1_000;
export const BYTES_PER_SECOND = 2 * 1024 * 1024;
export const BURST_SECONDS = 5;
/** Room for the line's fields beside the message and the stack. */
const FIELD_BYTES = 2_048;

export type LogLevel = "debug" | "info" | "warn" | "error";

/** Whose lines these are. */
export interface LogIdentity {
  readonly function: string;
  readonly namespace: string;
  readonly revision: string;
  readonly pod: string;
}

export interface Log {
  /** Writes one line; `stack` is kept apart from the message. */
  write(
    level: LogLevel,
    message: string,
    options?: { stack?: string | undefined; requestId?: string | undefined },
  ): void;
  /** From now on lines carry this identity. */
  identify(identity: LogIdentity): void;
  /** From now on these texts are hidden in messages and stacks. */
  hide(texts: readonly string[]): void;
}

const toIso = uncurryThis(Date.prototype.toISOString);

/** A text as JSON of at most `budget` bytes, cut with a note when it is longer. */
export function boundedJson(text: string, budget: number): string {
  let kept = text;
  // A character takes one byte at least, so that the first cut already bounds the work.
  if (kept.length > budget) kept = stringSlice(kept, 0, budget);
  for (;;) {
    const cut = text.length - kept.length;
    const json = jsonStringify(cut === 0 ? kept : `${kept}… [${cut} more characters]`);
    const size = json.length * 3 <= budget ? json.length : utf8(json).length;
    if (size <= budget) return json;
    kept = stringSlice(kept, 0, min(kept.length - 64, ((kept.length * budget) / size) | 0));
  }
}

export interface LogSources {
  /** Writes bytes out, all of them. */
  readonly output: (bytes: Uint8Array) => void;
  /** The id of the request whose code runs, if any. */
  readonly requestId: () => string | undefined;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
}

export function createLog(sources: LogSources): Log {
  const clock = sources.clock ?? dateNow;
  let fields = "";
  let hidden: readonly string[] = [];
  let lines = LINES_PER_SECOND * BURST_SECONDS;
  let bytes = BYTES_PER_SECOND * BURST_SECONDS;
  let refilledAt = clock();
  let droppedLines = 0;

  const refill = (at: number): void => {
    const seconds = (at - refilledAt) / 1000;
    if (seconds <= 0) return;
    refilledAt = at;
    lines = min(LINES_PER_SECOND * BURST_SECONDS, lines + seconds * LINES_PER_SECOND);
    bytes = min(BYTES_PER_SECOND * BURST_SECONDS, bytes + seconds * BYTES_PER_SECOND);
  };

  const format = (
    at: number,
    level: LogLevel,
    message: string,
    requestId?: string,
    stack?: string,
  ): Uint8Array => {
    const budget = MAX_LINE_BYTES - FIELD_BYTES;
    const half = stack === undefined ? budget : budget / 2;
    let line = `{"time":"${toIso(new NativeDate(at))}","level":"${level}","msg":${boundedJson(message, half)}${fields}`;
    if (requestId !== undefined) line += `,"requestId":${jsonStringify(requestId)}`;
    if (stack !== undefined) line += `,"stack":${boundedJson(stack, half)}`;
    return utf8(`${line}}\n`);
  };

  return {
    identify: ({ function: name, namespace, revision, pod }) => {
      fields = `,"function":${jsonStringify(name)},"namespace":${jsonStringify(namespace)},"revision":${jsonStringify(revision)},"pod":${jsonStringify(pod)}`;
    },
    hide: (texts) => {
      hidden = texts;
    },
    write: (level, message, { stack, requestId = sources.requestId() } = {}) => {
      const at = clock();
      refill(at);
      if (lines < 1 || bytes <= 0) {
        droppedLines += 1;
        return;
      }
      if (droppedLines > 0) {
        const note = `${droppedLines} log lines were dropped: more than ${LINES_PER_SECOND} lines or ${BYTES_PER_SECOND} bytes a second`;
        droppedLines = 0;
        lines -= 1;
        sources.output(format(at, "warn", note));
      }
      const shown = hidden.length === 0 ? message : hide(message, hidden);
      const shownStack = stack === undefined || hidden.length === 0 ? stack : hide(stack, hidden);
      const line = format(at, level, shown, requestId, shownStack);
      lines -= 1;
      bytes -= line.length;
      sources.output(line);
    },
  };
}
