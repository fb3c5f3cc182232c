/** Tails of the distributions that the judge needs. Pure numbers, no state. */

const LANCZOS = [
  676.5203681218851, -1259.1392167224028, 771.3234287776531, -176.6150291621406, 12.507343278686905,
  -0.13857109526572012, 9.984369578019572e-6, 1.5056327351493116e-7,
] as const;

/** Natural logarithm of n! = Γ(n + 1), n > -1 (Lanczos, 15 digits). */
export function logFactorial(n: number): number {
  if (n === 0 || n === 1) return 0;
  let sum = 0.9999999999998099;
  LANCZOS.forEach((coefficient, i) => {
    sum += coefficient / (n + i + 1);
  });
  const t = n + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (n + 0.5) * Math.log(t) - t + Math.log(sum);
}

const logChoose = (n: number, k: number): number => logFactorial(n) - logFactorial(k) - logFactorial(n - k);

/** Terms below this share of the sum no longer count. */
const NEGLIGIBLE = 1e-16;

/** P(X >= k) of a binomial with n trials of probability p. */
export function binomialUpperTail(k: number, n: number, p: number): number {
  if (k <= 0) return 1;
  if (k > n || p <= 0) return 0;
  if (p >= 1) return 1;
  // Below the mean the terms grow first: the other tail is the short one.
  if (k <= n * p) return Math.max(0, 1 - binomialUpperTail(n - k + 1, n, 1 - p));
  let term = Math.exp(logChoose(n, k) + k * Math.log(p) + (n - k) * Math.log1p(-p));
  let sum = 0;
  for (let i = k; i <= n; i += 1) {
    sum += term;
    if (term < sum * NEGLIGIBLE) break;
    term *= ((n - i) / (i + 1)) * (p / (1 - p));
  }
  return Math.min(1, sum);
}

/**
 * Fisher's exact test, one-sided: the probability that at least `k1` of all `k1 + k2` events fall on side 1 by chance when both sides
 * (n1 and n2 trials) are alike.
 */
export function fisherUpperTail(k1: number, n1: number, k2: number, n2: number): number {
  const k = k1 + k2;
  const n = n1 + n2;
  if (k === 0 || n1 === 0 || k1 <= 0) return 1;
  const mean = (k * n1) / n;
  // At or below the mean nothing speaks against side 1: the exact value (some 0.5 and more) decides nothing.
  if (k1 <= mean) return 1;
  let term = Math.exp(logChoose(n1, k1) + logChoose(n2, k - k1) - logChoose(n, k));
  let sum = 0;
  for (let i = k1; i <= Math.min(k, n1); i += 1) {
    sum += term;
    if (term < sum * NEGLIGIBLE) break;
    term *= ((n1 - i) / (i + 1)) * ((k - i) / (n2 - k + i + 1));
  }
  return Math.min(1, sum);
}

/** P(Z >= z) of the normal distribution; relative error below 2e-7 far out as well (erfc by Chebyshev, Numerical Recipes). */
export function normalUpperTail(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.5 * x);
  const series = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587,
    -0.82215223, 0.17087277,
  ];
  const poly = series.reduceRight((sum, coefficient) => coefficient + t * sum, 0);
  const erfc = t * Math.exp(-x * x + poly);
  return z >= 0 ? erfc / 2 : 1 - erfc / 2;
}

/** P(T >= t) of Student's distribution with `df` degrees of freedom; 1 below one degree: one fact is no proof. */
export function studentUpperTail(t: number, df: number): number {
  if (!(df >= 1) || Number.isNaN(t)) return 1;
  if (t === Number.POSITIVE_INFINITY) return 0;
  const half = regularBeta(df / (df + t * t), df / 2, 0.5) / 2;
  return t >= 0 ? half : 1 - half;
}

/** The regularised incomplete beta function (continued fraction by Lentz's method). */
function regularBeta(x: number, a: number, b: number): number {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - regularBeta(1 - x, b, a);
  const logBeta = logFactorial(a - 1) + logFactorial(b - 1) - logFactorial(a + b - 1);
  const tiny = 1e-300;
  const [apart, above] = [(value: number) => (Math.abs(value) < tiny ? tiny : value), a + b];
  let c = 1;
  let d = 1 / apart(1 - (above * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m <= 300; m += 1) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / apart(1 + even * d);
    c = apart(1 + even / c);
    fraction *= d * c;
    const odd = (-(a + m) * (above + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / apart(1 + odd * d);
    c = apart(1 + odd / c);
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-14) break;
  }
  return (Math.exp(a * Math.log(x) + b * Math.log1p(-x) - logBeta) * fraction) / a;
}
