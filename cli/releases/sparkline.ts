const BARS = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"] as const;

/**
 * A row of bars, one for each of the last `width` values, from 0 to `top`; a blank where there is none.
 * Two rows with one `top` can be compared.
 */
export function sparkline(
  values: readonly (number | undefined)[],
  { width, top }: { width: number; top: number },
): string {
  const shown = values.slice(-width).map((value) => {
    if (value === undefined) return " ";
    const level = top > 0 ? Math.min(BARS.length - 1, Math.floor((value / top) * BARS.length)) : 0;
    return BARS[Math.max(0, level)] ?? BARS[0];
  });
  return shown.join("");
}
