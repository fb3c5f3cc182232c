/** Factors of the suffixes of resource quantities. */
const SUFFIXES: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The number that a quantity such as `500m` or `1Gi` stands for; undefined when it is not one. */
export function parseQuantity(text: string | number): number | undefined {
  if (typeof text === "number") return text;
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/.exec(text);
  if (!match) return undefined;
  const factor = match[2] === undefined ? SUFFIXES[match[3] ?? ""] : 10 ** Number(match[2].slice(1));
  return factor === undefined ? undefined : Number(match[1]) * factor;
}
