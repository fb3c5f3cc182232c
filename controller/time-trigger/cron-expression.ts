import { Cron } from "croner";

/** What a schedule may be, as messages say it. */
const ALLOWED =
  'five fields ("minute hour day month weekday"), six with seconds first, "@every <duration>" such as "@every 5m", or one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually; "CRON_TZ=<zone> " may stand before fields';

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

/** Why a schedule cannot be one; undefined when it can. The message names the field, the value and what is allowed. */
export function cronFault(expression: string): string | undefined {
  const why = faultOf(expression.trim());
  return why === undefined
    ? undefined
    : `Cannot schedule the trigger: spec.cron must be ${ALLOWED}; got ${JSON.stringify(expression)}: ${why}`;
}

function faultOf(expression: string): string | undefined {
  if (expression.startsWith("@every")) return intervalFault(expression);
  const [, timezone, rest] = ZONE.exec(expression) ?? [];
  const fields = rest ?? expression;
  if (fields.startsWith("@"))
    return NAMED.test(fields) ? undefined : `${JSON.stringify(fields)} is not known`;
  const count = fields.split(/\s+/).filter(Boolean).length;
  if (count !== 5 && count !== 6) return `it has ${count} ${count === 1 ? "field" : "fields"}`;
  try {
    const cron = new Cron(fields, { paused: true, ...(timezone === undefined ? {} : { timezone }) });
    return cron.nextRun() === null ? "it never comes due" : undefined;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return text.replace(/^CronPattern: /, "").replace(/[.\s]+$/, "");
  }
}

function intervalFault(expression: string): string | undefined {
  const duration = EVERY.exec(expression)?.[1];
  if (duration === undefined) return 'the duration must be numbers with units, such as "90s" or "1h30m"';
  const ms = [...duration.matchAll(PART)].reduce(
    (sum, [, number, unit]) => sum + Number(number) * (UNIT_MS[unit ?? ""] ?? 0),
    0,
  );
  return ms < 1_000 ? "the duration must be at least 1s" : undefined;
}
