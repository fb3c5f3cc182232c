const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/g;

/**
 * Milliseconds of a duration such as `90s`, `1h30m`, `250ms`.
 * @throws {TypeError} naming the value, when it is not one.
 */
export function parseDurationMs(text: string): number {
  let total = 0;
  let matched = 0;
  for (const [whole, amount, unit] of text.matchAll(PART)) {
    total += Number(amount) * (UNIT_MS[unit ?? ""] ?? Number.NaN);
    matched += whole.length;
  }
  if (matched === 0 || matched !== text.length || !Number.isFinite(total)) {
    throw new TypeError(
      `Cannot read the duration "${text}": allowed are numbers with ms, s, m, h or d, such as 90s or 1h30m`,
    );
  }
  return total;
}
