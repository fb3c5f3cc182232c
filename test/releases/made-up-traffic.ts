import type { SideCounts } from "../../api/kinds/canary.ts";
import type { BothSides } from "../../controller/canary/counts.ts";

/** A seeded generator of uniform numbers in [0, 1) (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** How a version behaves: share that fails; latency log-normal around its median. */
export interface Version {
  readonly errorRate: number;
  readonly medianMs: number;
  readonly sigma: number;
}

/** What both sides did in the next second, while the new one has this share (0..1) of the requests. */
export type Traffic = (weight: number) => BothSides<SideCounts>;

/** Standard normal. */
export function gauss(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

export function binomial(n: number, p: number, random: () => number): number {
  if (p <= 0 || p >= 1) return p <= 0 ? 0 : n;
  let count = 0;
  for (let i = 0; i < n; i += 1) if (random() < p) count += 1;
  return count;
}

export function poisson(mean: number, random: () => number): number {
  const limit = Math.exp(-mean);
  let [count, product] = [0, random()];
  while (product > limit) {
    count += 1;
    product *= random();
  }
  return count;
}
