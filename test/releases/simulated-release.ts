import type { SideCounts } from "../../api/kinds/canary.ts";
import { LATENCY_BUCKET_BOUNDS_MS } from "../../api/wire/counters.ts";
import { type BothSides, grown, NO_TRAFFIC, plus } from "../../controller/canary/counts.ts";
import { type CanaryState, decide, isFinished } from "../../controller/canary/decide.ts";
import type { CanaryPlan } from "../../controller/canary/plan.ts";
import { binomial, gauss, poisson, seeded, type Traffic, type Version } from "./made-up-traffic.ts";
import { type Noise, noisyTraffic } from "./noisy-traffic.ts";

export interface SimulatedRelease {
  readonly outcome: "succeeded" | "failed" | "running";
  /** Requests that the new side had until then. */
  readonly newRequests: number;
  readonly seconds: number;
  readonly sentence: string;
}

const RECENT_SECONDS = 4;

/** Requests that have nothing to do with one another. */
function steadyTraffic(versions: BothSides<Version>, perSecond: number, random: () => number): Traffic {
  return (weight) => {
    const arrivals = poisson(perSecond, random);
    const toNew = binomial(arrivals, weight, random);
    return {
      old: secondOf(versions.old, arrivals - toNew, random),
      new: secondOf(versions.new, toNew, random),
    };
  };
}

interface Simulation {
  readonly perSecond: number;
  readonly seed: number;
  readonly maxSeconds?: number;
  /** What the machine does besides; without it all requests are independent. */
  readonly noise?: Noise | undefined;
}

/** Runs the real decisions over made-up traffic, second by second, until the release ends. */
export function simulateRelease(
  plan: CanaryPlan,
  versions: BothSides<Version>,
  { perSecond, seed, noise, maxSeconds = 7_200 }: Simulation,
): SimulatedRelease {
  const random = seeded(seed);
  const traffic = noise
    ? noisyTraffic(versions, perSecond, noise, random)
    : steadyTraffic(versions, perSecond, random);
  const side = (name: string) => ({ name, function: name, uid: name, revision: name });
  const sides = { old: side("old"), new: side("new") };
  let state: CanaryState = {};
  let newRequests = 0;
  const recent: { old: SideCounts; new: SideCounts }[] = [];
  for (let second = 0; second < maxSeconds; second += 1) {
    const delta = traffic((state.weight ?? 0) / 100);
    newRequests += delta.new.requests;
    recent.push(delta);
    if (recent.length > RECENT_SECONDS) recent.shift();
    if (state.phase !== undefined && state.phase !== "warming")
      state = { ...state, counts: grown(state.counts, delta, plan.warmUpRequests) };
    const window = recent.reduce(
      (sum, each) => ({ old: plus(sum.old, each.old), new: plus(sum.new, each.new) }),
      NO_TRAFFIC,
    );
    state = decide(state, plan, {
      now: new Date(second * 1_000),
      generation: 1,
      sides,
      recent: { ...window, names: { old: "old", new: "new" }, bounds: LATENCY_BUCKET_BOUNDS_MS },
      warmth: "ready",
    });
    state = { ...state, applied: true };
    if (isFinished(state))
      return {
        outcome: state.phase === "succeeded" ? "succeeded" : "failed",
        newRequests,
        seconds: second,
        sentence: state.sentence ?? "",
      };
  }
  return { outcome: "running", newRequests, seconds: maxSeconds, sentence: state.sentence ?? "" };
}

/**
 * The reference system on the same traffic: at the end of each step the whole percents of failures against one threshold; a step
 * without requests is repeated.
 */
export function simulateThreshold(
  plan: CanaryPlan,
  versions: BothSides<Version>,
  { perSecond, seed, maxSeconds = 7_200 }: { perSecond: number; seed: number; maxSeconds?: number },
): SimulatedRelease {
  const random = seeded(seed);
  let [newRequests, step, inStep, failed, stepStart] = [0, 0, 0, 0, 0];
  for (let second = 0; second < maxSeconds; second += 1) {
    const planned = plan.steps[step];
    if (!planned) return { outcome: "succeeded", newRequests, seconds: second, sentence: "" };
    const arrivals = poisson(perSecond, random);
    const toNew = binomial(arrivals, planned.weight / 100, random);
    newRequests += toNew;
    inStep += toNew;
    failed += binomial(toNew, versions.new.errorRate, random);
    if ((second - stepStart) * 1_000 < planned.durationMs || inStep === 0) continue;
    if (Math.trunc((failed / inStep) * 100) > plan.gates.maxErrorRate)
      return { outcome: "failed", newRequests, seconds: second, sentence: "" };
    [step, inStep, failed, stepStart] = [step + 1, 0, 0, second];
  }
  return { outcome: "running", newRequests, seconds: maxSeconds, sentence: "" };
}

const TABLE = 8_192;
const tables = new Map<string, Uint8Array>();

/** Latency buckets of a version, drawn once: drawing again is a look at a random place. */
function latencyTable({ medianMs, sigma }: Version): Uint8Array {
  const key = `${medianMs} ${sigma}`;
  const known = tables.get(key);
  if (known) return known;
  const random = seeded(1);
  const table = Uint8Array.from({ length: TABLE }, () => {
    const ms = medianMs * Math.exp(sigma * gauss(random));
    const found = LATENCY_BUCKET_BOUNDS_MS.findIndex((bound) => ms <= bound);
    return found < 0 ? LATENCY_BUCKET_BOUNDS_MS.length : found;
  });
  tables.set(key, table);
  return table;
}

function secondOf(version: Version, requests: number, random: () => number): SideCounts {
  const table = latencyTable(version);
  const buckets = [...LATENCY_BUCKET_BOUNDS_MS, 0].fill(0);
  for (let i = 0; i < requests; i += 1) {
    const bucket = table[Math.trunc(random() * TABLE)] ?? 0;
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }
  const serverErrors = binomial(requests, version.errorRate, random);
  return { requests, serverErrors, clientErrors: 0, platformErrors: 0, buckets };
}
