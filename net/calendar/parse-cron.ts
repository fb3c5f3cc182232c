import { Cron } from "croner";

/** What a line of `spec.cron` says. */
export type CronLine =
  | { readonly kind: "every"; readonly ms: number }
  /** `cron` has no zone of its own when `timeZone` is undefined. */
  | { readonly kind: "fields"; readonly fields: string; readonly timeZone: string | undefined };

/** Why a schedule is none. */
export class ScheduleFault extends Error {}

const EVERY = /^@every\s+((?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+)$/;
const PART = /(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g;
const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};
const NAMED = /^@(?:hourly|daily|midnight|weekly|monthly|yearly|annually)$/;
const ZONE = /^(?:CRON_TZ|TZ)=(\S+)\s+(.*)$/;
const SHORTEST_MS = 1_000;

const MOST_LINES = 2_000;
const lines = new Map<string, CronLine>();

/** Reads a schedule. @throws {ScheduleFault} */
export function parseCron(text: string): CronLine {
  const known = lines.get(text);
  if (known) return known;
  const line = read(text.trim());
  if (lines.size >= MOST_LINES) lines.clear();
  lines.set(text, line);
  return line;
}

function read(line: string): CronLine {
  if (line.startsWith("@every")) return { kind: "every", ms: intervalMs(line) };
  const [, timeZone, rest] = ZONE.exec(line) ?? [];
  const fields = rest ?? line;
  if (fields.startsWith("@")) {
    if (!NAMED.test(fields)) throw new ScheduleFault(`${JSON.stringify(fields)} is not known`);
  } else {
    const count = fields.split(/\s+/).filter(Boolean).length;
    if (count !== 5 && count !== 6)
      throw new ScheduleFault(`it has ${count} ${count === 1 ? "field" : "fields"}`);
  }
  if (neverComes(fields, timeZone)) throw new ScheduleFault("it never comes due");
  return { kind: "fields", fields, timeZone };
}

function neverComes(fields: string, timeZone: string | undefined): boolean {
  try {
    return cronOf(fields, timeZone).nextRun() === null;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new ScheduleFault(text.replace(/^CronPattern: /, "").replace(/[.\s]+$/, ""));
  }
}

/**
 * A calendar that never runs anything. In the hour that summer time leaves out, what has fixed hours comes at the first moment after it; in the hour that
 * comes twice it comes once. What has a wildcard or a step in its seconds, minutes or hours goes by elapsed time: nothing in the first, twice in the second.
 */
export const cronOf = (fields: string, timeZone: string | undefined): Cron =>
  new Cron(fields, {
    paused: true,
    fixedTimeRule: "no-wildcard",
    // The same as the zone UTC, and seven times as fast.
    ...(timeZone === undefined || timeZone === "UTC" ? { utcOffset: 0 } : { timezone: timeZone }),
  });

function intervalMs(line: string): number {
  const duration = EVERY.exec(line)?.[1];
  if (duration === undefined)
    throw new ScheduleFault('the duration must be numbers with units, such as "90s" or "1h30m"');
  const ms = [...duration.matchAll(PART)].reduce(
    (sum, [, number, unit]) => sum + Number(number) * (UNIT_MS[unit ?? ""] ?? 0),
    0,
  );
  if (ms < SHORTEST_MS) throw new ScheduleFault("the duration must be at least 1s");
  return Math.round(ms);
}
