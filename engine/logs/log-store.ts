/**
 * Lines of all functions: kept in segments on disk, handed to followers as they come.
 *
 * Invariant S1: a reader sees the lines that were there when it began, in order, however long it reads; a follower then sees each
 * later line once, in order, or is told how many it missed because it was too slow.
 */
import type { LogLine } from "../../api/wire/ops.ts";
import { type CompiledFilter, compileFilter, type LogFilter } from "./log-filter.ts";
import { decodeLine, placeOf, type SegmentSummary, segmentTexts, type StoredLine } from "./segment.ts";
import { SegmentLog, type SegmentLogOptions, type SegmentView } from "./segment-log.ts";

export interface LogStore {
  /** Stores lines and hands them to followers. They are in the operating system's hands when this returns. */
  append(lines: readonly StoredLine[]): void;
  /** Stores those lines that come after their file's position; gives their number. */
  appendNew(lines: readonly StoredLine[]): number;
  /** Lines that match, newest or oldest first, at most `limit`. */
  query(filter: LogFilter, options: { order: "newest" | "oldest"; limit: number }): AsyncGenerator<LogLine>;
  /** The newest `limit` lines that match, oldest first, then each that comes, until `signal` aborts. */
  follow(filter: LogFilter, options: { limit: number; signal: AbortSignal }): AsyncGenerator<LogLine>;
  /** For each log file, the offset up to which its lines are stored, as far as the newest segments tell. */
  positions(): ReadonlyMap<string, number>;
  readonly bytes: number;
  readonly followers: number;
  close(): void;
}

/** Lines that wait for a follower; beyond it the oldest are dropped. */
const MAX_PENDING = 20_000;

interface Follower {
  readonly filter: CompiledFilter;
  pending: LogLine[];
  missed: number;
  wake: () => void;
}

export function openLogStore(options: SegmentLogOptions): LogStore {
  const log = new SegmentLog(options);
  const followers = new Set<Follower>();
  const append = (lines: readonly StoredLine[]): void => {
    log.append(lines);
    for (const follower of followers) hand(follower, lines);
  };
  return {
    append,
    appendNew: (lines) => {
      const fresh = linesBehind(lines, (file) => log.positionOf(file));
      if (fresh.length > 0) append(fresh);
      return fresh.length;
    },
    query: (filter, { order, limit }) => read(log.snapshot, filter, order, limit),
    follow: (filter, { limit, signal }) => {
      const follower: Follower = {
        filter: compileFilter(filter),
        pending: [],
        missed: 0,
        wake: () => undefined,
      };
      followers.add(follower);
      return followFrom(follower, read(log.snapshot, filter, "newest", limit), signal, () =>
        followers.delete(follower),
      );
    },
    positions: () => log.positions,
    get bytes() {
      return log.bytes;
    },
    get followers() {
      return followers.size;
    },
    close: () => log.close(),
  };
}

/** The lines behind their files' positions, each once. */
function linesBehind(
  lines: readonly StoredLine[],
  positionOf: (file: string) => number,
): readonly StoredLine[] {
  const reached = new Map<string, number>();
  return lines.filter(({ from }) => {
    const place = placeOf(from);
    if (!place) return true;
    const { file, offset } = place;
    if (offset <= (reached.get(file) ?? positionOf(file))) return false;
    reached.set(file, offset);
    return true;
  });
}

function holdsAnyOf(summary: SegmentSummary, filter: LogFilter): boolean {
  if (summary.lines === 0) return false;
  if (filter.sinceMs !== undefined && Date.parse(summary.maxTime) < filter.sinceMs) return false;
  if (filter.untilMs !== undefined && Date.parse(summary.minTime) > filter.untilMs) return false;
  if (!summary.functions || filter.function === undefined || filter.namespace === undefined) return true;
  return summary.functions.has(`${filter.namespace}/${filter.function}`);
}

async function* read(
  segments: readonly SegmentView[],
  filter: LogFilter,
  order: "newest" | "oldest",
  limit: number,
): AsyncGenerator<LogLine> {
  const compiled = compileFilter(filter);
  let left = limit;
  for (const segment of order === "newest" ? segments.toReversed() : segments) {
    if (!holdsAnyOf(segment.summary, filter)) continue;
    const texts = await segmentTexts(segment.path, segment.bytes);
    for (const text of order === "newest" ? texts.toReversed() : texts) {
      if (!compiled.mayMatch(text)) continue;
      const line = decodeLine(text)?.line;
      if (!line || !compiled.matches(line)) continue;
      yield line;
      if (--left === 0) return;
    }
  }
}

function hand(follower: Follower, lines: readonly StoredLine[]): void {
  const wanted = lines.filter(({ line }) => follower.filter.matches(line));
  if (wanted.length === 0) return;
  for (const { line } of wanted) follower.pending.push(line);
  const excess = follower.pending.length - MAX_PENDING;
  if (excess > 0) {
    follower.pending.splice(0, excess);
    follower.missed += excess;
  }
  follower.wake();
}

async function* followFrom(
  follower: Follower,
  past: AsyncGenerator<LogLine>,
  signal: AbortSignal,
  leave: () => void,
): AsyncGenerator<LogLine> {
  const onAbort = () => follower.wake();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const history: LogLine[] = [];
    for await (const line of past) history.push(line);
    yield* history.toReversed();
    while (!signal.aborted) {
      const batch = follower.pending;
      const { missed } = follower;
      follower.pending = [];
      follower.missed = 0;
      if (missed > 0 && batch[0]) yield missedLine(batch[0], missed);
      yield* batch;
      if (follower.pending.length > 0 || signal.aborted) continue;
      await new Promise<void>((resolve) => {
        follower.wake = resolve;
      });
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    leave();
  }
}

function missedLine(next: LogLine, missed: number): LogLine {
  const { time, namespace } = next;
  return {
    time,
    level: "warn",
    message: `${missed} lines were left out: the reader is too slow`,
    namespace,
    function: "",
    revision: "",
    pod: "",
    container: "",
    stream: "stderr",
  };
}
