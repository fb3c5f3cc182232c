import { LOG_LINE_LEVELS, type LogLine, type LogLineLevel } from "../../api/wire/ops.ts";

/** Which lines are asked for; all that is given must hold. */
export interface LogFilter {
  readonly namespace?: string | undefined;
  readonly function?: string | undefined;
  readonly revision?: string | undefined;
  readonly pod?: string | undefined;
  readonly requestId?: string | undefined;
  /** This level and the graver ones. */
  readonly level?: LogLineLevel | undefined;
  /** In message or stack, upper and lower case alike. */
  readonly search?: string | undefined;
  /** Milliseconds since the epoch, both included. */
  readonly sinceMs?: number | undefined;
  readonly untilMs?: number | undefined;
}

/** A filter made ready to be asked many times. */
export interface CompiledFilter {
  matches(line: LogLine): boolean;
  /** Whether a stored line's text may match; false saves parsing it. */
  mayMatch(text: string): boolean;
}

export function compileFilter(filter: LogFilter): CompiledFilter {
  const lowest = filter.level === undefined ? 0 : LOG_LINE_LEVELS.indexOf(filter.level);
  const search = filter.search?.toLowerCase();
  const since = filter.sinceMs === undefined ? undefined : isoOrLimit(filter.sinceMs);
  const until = filter.untilMs === undefined ? undefined : isoOrLimit(filter.untilMs);
  const exact = (["namespace", "function", "revision", "pod", "requestId"] as const)
    .filter((name) => filter[name] !== undefined)
    .map((name) => [name, filter[name]] as const);
  const texts = exact.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
  return {
    matches: (line) =>
      exact.every(([name, value]) => line[name] === value) &&
      LOG_LINE_LEVELS.indexOf(line.level) >= lowest &&
      (since === undefined || line.time >= since) &&
      (until === undefined || line.time <= until) &&
      (search === undefined ||
        line.message.toLowerCase().includes(search) ||
        (line.stack?.toLowerCase().includes(search) ?? false)),
    mayMatch: (text) => texts.every((part) => text.includes(part)),
  };
}

function isoOrLimit(ms: number): string {
  return new Date(Math.min(Math.max(ms, 0), 8.64e15)).toISOString();
}
