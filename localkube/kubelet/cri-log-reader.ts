const NEWLINE = 10;
const SPACE = 32;

/** One line of a CRI log file: a whole line of output, or a piece of one. */
export interface CriRecord {
  /** RFC 3339 with nanoseconds; comparable as text. */
  time: string;
  /** False for a piece that more of the same line follows. */
  ends: boolean;
  text: Buffer;
}

/** Cuts off the first line of `data`; undefined when it is not complete. */
export function nextLine(data: Buffer): { line: Buffer; rest: Buffer } | undefined {
  const end = data.indexOf(NEWLINE);
  return end < 0 ? undefined : { line: data.subarray(0, end), rest: data.subarray(end + 1) };
}

/** Reads one log line without its newline; undefined when it is not one. */
export function parseCriLine(line: Buffer): CriRecord | undefined {
  const first = line.indexOf(SPACE);
  const second = line.indexOf(SPACE, first + 1);
  const third = line.indexOf(SPACE, second + 1);
  if (first <= 0 || second < 0 || third !== second + 2) return undefined;
  return {
    time: line.toString("latin1", 0, first),
    ends: line[second + 1] === 70,
    text: line.subarray(third + 1),
  };
}

/** Offset in `data` at which the last `count` whole lines of output begin, counting an unfinished one as a line. */
export function tailOffset(data: Buffer, count: number): number {
  if (count <= 0) return data.length;
  let end = data.length;
  if (end > 0 && data[end - 1] === NEWLINE) end -= 1;
  let wanted = count;
  let start = data.length;
  let isLast = true;
  while (end > 0) {
    const lineStart = data.lastIndexOf(NEWLINE, end - 1) + 1;
    const record = parseCriLine(data.subarray(lineStart, end));
    if (record?.ends === true || isLast) {
      if (wanted === 0) return start;
      wanted -= 1;
    }
    isLast = false;
    start = lineStart;
    end = lineStart - 1;
  }
  return 0;
}
