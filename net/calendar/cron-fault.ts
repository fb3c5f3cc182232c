import { type CronLine, parseCron, ScheduleFault } from "./parse-cron.ts";

/** What a schedule may be, as messages say it. */
const ALLOWED =
  'five fields ("minute hour day month weekday"), six with seconds first, "@every <duration>" such as "@every 5m", or one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually; "CRON_TZ=<zone> " may stand before fields';

/** What of a schedule is checked: the fields of a TimeTrigger's `spec` of these names. */
export interface ScheduleText {
  readonly cron: string;
  readonly timeZone?: string | undefined;
  readonly startTime?: string | undefined;
  readonly endTime?: string | undefined;
}

/** Why a schedule cannot be one; undefined when it can. The message names the field, the value and what is allowed. */
export function scheduleFault(spec: ScheduleText): string | undefined {
  const line = read(spec.cron);
  if (typeof line === "string")
    return `Cannot schedule the trigger: spec.cron must be ${ALLOWED}; got ${JSON.stringify(spec.cron)}: ${line}`;
  return zoneFault(spec, line) ?? spanFault(spec);
}

function read(cron: string): CronLine | string {
  try {
    return parseCron(cron);
  } catch (error) {
    if (error instanceof ScheduleFault) return error.message;
    throw error;
  }
}

function zoneFault({ cron, timeZone }: ScheduleText, line: CronLine): string | undefined {
  if (timeZone === undefined || timeZone === "") return undefined;
  if (line.kind === "fields" && line.timeZone !== undefined)
    return `Cannot schedule the trigger: spec.timeZone excludes a zone in spec.cron; got ${JSON.stringify(timeZone)} and ${JSON.stringify(cron)}`;
  return isTimeZone(timeZone)
    ? undefined
    : `Cannot schedule the trigger: spec.timeZone must be an IANA time zone such as "Europe/Berlin", got ${JSON.stringify(timeZone)}`;
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

function spanFault({ startTime, endTime }: ScheduleText): string | undefined {
  for (const [field, value] of Object.entries({ startTime, endTime }))
    if (value !== undefined && Number.isNaN(Date.parse(value)))
      return `Cannot schedule the trigger: spec.${field} must be a time such as "2027-01-31T09:00:00Z", got ${JSON.stringify(value)}`;
  if (startTime === undefined || endTime === undefined || Date.parse(startTime) < Date.parse(endTime))
    return undefined;
  return `Cannot schedule the trigger: spec.endTime must be later than spec.startTime, got ${JSON.stringify(endTime)} and ${JSON.stringify(startTime)}`;
}
