import { fisherUpperTail, normalUpperTail } from "./tails.ts";

/** Requests by latency bucket, as `api/wire/counters.ts` has them; the last one is above all bounds. */
export type Buckets = readonly number[];

export const total = (buckets: Buckets): number => buckets.reduce((sum, count) => sum + count, 0);

/** The q-quantile in ms, placed inside its bucket by the logarithm; undefined without requests. */
export function quantileMs(buckets: Buckets, bounds: readonly number[], q: number): number | undefined {
  const wanted = total(buckets) * q;
  if (wanted === 0) return undefined;
  let below = 0;
  for (const [i, count] of buckets.entries()) {
    if (count > 0 && below + count >= wanted) {
      const high = bounds[i] ?? (bounds.at(-1) ?? 1) * 1.25;
      const low = bounds[i - 1] ?? high / 2;
      return low * (high / low) ** ((wanted - below) / count);
    }
    below += count;
  }
  return bounds.at(-1);
}

/** Requests that surely took longer than `limitMs`: those of the bucket that holds the limit do not count. */
export function countAbove(buckets: Buckets, bounds: readonly number[], limitMs: number): number {
  return buckets.reduce((sum, count, i) => sum + ((bounds[i - 1] ?? 0) >= limitMs ? count : 0), 0);
}

/**
 * Mann-Whitney on bucket counts, one-sided (is `slow` slower than `fast`?), ties by the exact correction. `cles`: how likely a request
 * of `slow` takes longer than one of `fast`, ties half.
 */
export function mannWhitney(slow: Buckets, fast: Buckets): { p: number; cles: number } {
  const [n1, n2] = [total(slow), total(fast)];
  if (n1 === 0 || n2 === 0) return { p: 1, cles: 0.5 };
  const n = n1 + n2;
  let u = 0;
  let fastBelow = 0;
  let ties = 0;
  for (let i = 0; i < Math.max(slow.length, fast.length); i += 1) {
    const [a, b] = [slow[i] ?? 0, fast[i] ?? 0];
    u += a * (fastBelow + b / 2);
    fastBelow += b;
    ties += (a + b) ** 3 - (a + b);
  }
  const cles = u / (n1 * n2);
  const variance = ((n1 * n2) / 12) * (n + 1 - ties / (n * (n - 1)));
  if (!(variance > 0)) return { p: 1, cles };
  return { p: normalUpperTail((u - (n1 * n2) / 2 - 0.5) / Math.sqrt(variance)), cles };
}

/** The buckets of the same requests, were all of them `factor` times as fast. Bounds grow geometrically. */
export function quickened(buckets: Buckets, bounds: readonly number[], factor: number): number[] {
  const [low = 1, high = 1.25] = bounds;
  const by = Math.log(factor) / Math.log(high / low);
  const [whole, rest] = [Math.floor(by), by - Math.floor(by)];
  const moved = buckets.map(() => 0);
  for (const [i, count] of buckets.entries()) {
    const [near, far] = [Math.max(0, i - whole), Math.max(0, i - whole - 1)];
    moved[near] = (moved[near] ?? 0) + count * (1 - rest);
    moved[far] = (moved[far] ?? 0) + count * rest;
  }
  return moved;
}

/** Share of the requests below a bucket's, those in it half. */
export function sharesBelow(buckets: Buckets): (bucket: number) => number {
  const all = total(buckets);
  let below = 0;
  const shares = buckets.map((count) => {
    const share = (below + count / 2) / all;
    below += count;
    return share;
  });
  return (bucket) => shares[bucket] ?? 1;
}

/**
 * Whether `slow` has more requests beyond the q-quantile of both sides together, by Fisher's exact test. The border comes from the
 * pooled requests, so that it favours neither side; the tail begins with bucket `from`.
 */
export function tailTest(slow: Buckets, fast: Buckets, q: number): { p: number; from: number } {
  const pooled = Array.from(
    { length: Math.max(slow.length, fast.length) },
    (_, i) => (slow[i] ?? 0) + (fast[i] ?? 0),
  );
  const wanted = total(pooled) * q;
  let below = 0;
  const border = pooled.findIndex((count) => (below += count) >= wanted);
  const beyond = (from: number) => ({
    from,
    of: (buckets: Buckets): number => total(buckets.slice(from)),
  });
  // The quantile's bucket belongs to the side of the border that keeps the share of the tail nearest to 1 - q.
  const distance = (from: number): number => Math.abs(total(pooled.slice(from)) / total(pooled) - (1 - q));
  const { from, of } = beyond(distance(border + 1) <= distance(border) ? border + 1 : border);
  // Quickened requests are split between two buckets.
  const [tails, heads] = [Math.round(of(slow)), Math.round(of(fast))];
  return { p: fisherUpperTail(tails, Math.round(total(slow)), heads, Math.round(total(fast))), from };
}
