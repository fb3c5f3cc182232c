/** Powers of ten and two of the suffixes of Kubernetes quantities. */
const DECIMAL: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  "": 0,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const BINARY: Readonly<Record<string, bigint>> = {
  Ki: 2n ** 10n,
  Mi: 2n ** 20n,
  Gi: 2n ** 30n,
  Ti: 2n ** 40n,
  Pi: 2n ** 50n,
  Ei: 2n ** 60n,
};
const FORM =
  /^([+-]?)(?:(\d{1,64})\.?(\d{0,64})|\.(\d{1,64}))(?:[eE]([+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i)?)$/;

/** An exact decimal number: `units` × 10^`exponent`. */
export interface Quantity {
  readonly units: bigint;
  readonly exponent: number;
}

/** The number that `42`, `41.5`, `500m` or `1Ki` stands for, exactly; undefined when it is not one. */
export function parseQuantity(value: string | number): Quantity | undefined {
  const match = FORM.exec(String(value));
  if (!match) return undefined;
  const [, sign, whole = "", fraction = "", bare = "", power, suffix = ""] = match;
  const decimals = fraction + bare;
  const units = BigInt(whole + decimals) * (BINARY[suffix] ?? 1n) * (sign === "-" ? -1n : 1n);
  const exponent = (power === undefined ? (DECIMAL[suffix] ?? 0) : Number(power)) - decimals.length;
  return { units, exponent };
}

/** Below 0, 0 or above 0: how `left` compares with `right`. */
export function compareQuantities(left: Quantity, right: Quantity): number {
  const low = Math.min(left.exponent, right.exponent);
  const scaled = ({ units, exponent }: Quantity): bigint => units * 10n ** BigInt(exponent - low);
  const [a, b] = [scaled(left), scaled(right)];
  return a < b ? -1 : a > b ? 1 : 0;
}
