/** How numbers are said in a finding. */
const NUMBER = new Intl.NumberFormat("en-US");
export const count = (value: number): string => NUMBER.format(value);
export const percent = (k: number, n: number): string => `${((100 * k) / n).toFixed(1)} %`;
export const ms = (value: number): string =>
  value >= 1_000
    ? `${(value / 1_000).toFixed(2)} s`
    : `${value >= 10 ? value.toFixed(0) : value.toFixed(1)} ms`;
