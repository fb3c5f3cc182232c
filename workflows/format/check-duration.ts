import { parseDurationMs } from "../../api/duration.ts";

/** Takes what is wrong with a field. */
export type Report = (place: string, message: string) => void;

/** The duration in ms; undefined when it is none, which is reported. */
export function checkDuration(text: string, place: string, report: Report): number | undefined {
  try {
    const ms = parseDurationMs(text);
    if (ms > 0) return ms;
    report(place, `must be longer than 0, got "${text}"`);
  } catch {
    report(
      place,
      `"${text}" is no duration: allowed are numbers with ms, s, m, h or d, such as 90s or 1h30m`,
    );
  }
  return undefined;
}
