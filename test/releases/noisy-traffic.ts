import type { SideCounts } from "../../api/kinds/canary.ts";
import { LATENCY_BUCKET_BOUNDS_MS } from "../../api/wire/counters.ts";
import { latencyBucket } from "../../engine/router/revision-tally.ts";
import type { BothSides } from "../../controller/canary/counts.ts";
import { gauss, poisson, type Traffic, type Version } from "./made-up-traffic.ts";

/**
 * What a real machine adds to what code does. Requests that wait for the same thing wait together, so that they are fewer facts than
 * they are requests; and a side with few pods has more of it at a time than one with many.
 */
export interface Noise {
  /** Pods of the old side, warm since long; the new side has one fresh pod for each quarter of the traffic. */
  readonly oldPods: number;
  /** Load of the machine that all pods share: wanders (standard deviation of its logarithm), and jumps so many times a minute. */
  readonly machine: { readonly sigma: number; readonly jumpsPerMinute: number; readonly factor: number };
  /** What each pod has alone: wandering, and pauses (garbage, another process on its processor) of up to `pauseMs`. */
  readonly pod: { readonly sigma: number; readonly pausesPerMinute: number; readonly pauseMs: number };
  /** A pod's speed as such (standard deviation of its logarithm): another node, other neighbours. */
  readonly podSpeed: number;
  /** A fresh pod is so many times as slow at first, falling by 1/e after so many requests. */
  readonly warmUp: { readonly factor: number; readonly requests: number };
}

/** A small shared machine with other work on it. */
export const BUSY_MACHINE: Noise = {
  oldPods: 1,
  machine: { sigma: 0.3, jumpsPerMinute: 4, factor: 4 },
  pod: { sigma: 0.15, pausesPerMinute: 8, pauseMs: 250 },
  podSpeed: 0.03,
  warmUp: { factor: 3, requests: 20 },
};

interface Pod {
  readonly speed: number;
  drift: number;
  /** Second in the present one until which it stands still, and since when. */
  pauses: { from: number; until: number }[];
  served: number;
}

/** Traffic of two versions on a machine that is not theirs alone. */
export function noisyTraffic(
  versions: BothSides<Version>,
  perSecond: number,
  noise: Noise,
  random: () => number,
): Traffic {
  const pod = (served: number): Pod => ({
    speed: Math.exp(noise.podSpeed * gauss(random)),
    drift: 0,
    pauses: [],
    served,
  });
  const pods = { old: Array.from({ length: noise.oldPods }, () => pod(1e6)), new: [pod(0)] };
  let machine = 0;
  let jumpLeft = 0;
  const wander = (now: number, sigma: number): number => 0.8 * now + 0.6 * sigma * gauss(random);
  const passes = (each: Pod): void => {
    each.drift = wander(each.drift, noise.pod.sigma);
    each.pauses = Array.from({ length: poisson(noise.pod.pausesPerMinute / 60, random) }, () => {
      const from = random();
      return { from, until: from + (random() * noise.pod.pauseMs) / 1_000 };
    });
  };
  return (weight) => {
    machine = wander(machine, noise.machine.sigma);
    if (jumpLeft <= 0 && random() < noise.machine.jumpsPerMinute / 60)
      jumpLeft = 1 - 3 * Math.log(1 - random());
    const load = Math.exp(machine) * (jumpLeft > 0 ? noise.machine.factor : 1);
    jumpLeft -= 1;
    while (pods.new.length < Math.ceil(weight * 4)) pods.new.push(pod(0));
    for (const each of [...pods.old, ...pods.new]) passes(each);
    const counted = { old: noCounts(), new: noCounts() };
    for (let left = poisson(perSecond, random); left > 0; left -= 1) {
      const side = random() < weight ? "new" : "old";
      const by = pods[side][Math.trunc(random() * pods[side].length)];
      if (!by) continue;
      const at = random();
      const { medianMs, sigma, errorRate } = versions[side];
      const warm = 1 + (noise.warmUp.factor - 1) * Math.exp(-by.served / noise.warmUp.requests);
      by.served += 1;
      const pause = by.pauses.find(({ from, until }) => at >= from && at < until);
      const workMs = medianMs * Math.exp(sigma * gauss(random) + by.drift) * by.speed * load * warm;
      count(counted[side], workMs + (pause ? (pause.until - at) * 1_000 : 0), random() < errorRate);
    }
    return counted;
  };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
const noCounts = (): Mutable<SideCounts> => ({
  requests: 0,
  serverErrors: 0,
  clientErrors: 0,
  platformErrors: 0,
  buckets: [...LATENCY_BUCKET_BOUNDS_MS, 0].fill(0),
});

function count(side: Mutable<SideCounts>, ms: number, failed: boolean): void {
  side.requests += 1;
  if (failed) side.serverErrors += 1;
  const bucket = latencyBucket(ms);
  side.buckets[bucket] = (side.buckets[bucket] ?? 0) + 1;
}
