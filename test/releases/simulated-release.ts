import type { SideCounts } from "../../api/kinds/canary.ts";
import { LATENCY_BUCKET_BOUNDS_MS } from "../../api/wire/counters.ts";
import { NO_TRAFFIC, plus } from "../../controller/canary/counts.ts";
import { type CanaryState, decide, isFinished } from "../../controller/canary/decide.ts";
import type { CanaryPlan } from "../../controller/canary/plan.ts";

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

export interface SimulatedRelease {
  readonly outcome: "succeeded" | "failed" | "running";
  /** Requests that the new side had until then. */
  readonly newRequests: number;
  readonly seconds: number;
  readonly sentence: string;
}

const RECENT_SECONDS = 4;

/** Runs the real decisions over made-up traffic, second by second, until the release ends. */
export function simulateRelease(
  plan: CanaryPlan,
  versions: { readonly old: Version; readonly new: Version },
  { perSecond, seed, maxSeconds = 7_200 }: { perSecond: number; seed: number; maxSeconds?: number },
): SimulatedRelease {
  const random = seeded(seed);
  const side = (name: string) => ({ name, function: name, uid: name, revision: name });
  const sides = { old: side("old"), new: side("new") };
  let state: CanaryState = {};
  let newRequests = 0;
  const recent: { old: SideCounts; new: SideCounts }[] = [];
  for (let second = 0; second < maxSeconds; second += 1) {
    const weight = (state.weight ?? 0) / 100;
    const arrivals = poisson(perSecond, random);
    const toNew = binomial(arrivals, weight, random);
    const delta = {
      old: secondOf(versions.old, arrivals - toNew, random),
      new: secondOf(versions.new, toNew, random),
    };
    newRequests += toNew;
    recent.push(delta);
    if (recent.length > RECENT_SECONDS) recent.shift();
    const { counts = NO_TRAFFIC } = state;
    if (state.phase !== undefined && state.phase !== "warming")
      state = { ...state, counts: { old: plus(counts.old, delta.old), new: plus(counts.new, delta.new) } };
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
  versions: { readonly old: Version; readonly new: Version },
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

function gauss(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

function binomial(n: number, p: number, random: () => number): number {
  if (p <= 0 || p >= 1) return p <= 0 ? 0 : n;
  let count = 0;
  for (let i = 0; i < n; i += 1) if (random() < p) count += 1;
  return count;
}

function poisson(mean: number, random: () => number): number {
  const limit = Math.exp(-mean);
  let [count, product] = [0, random()];
  while (product > limit) {
    count += 1;
    product *= random();
  }
  return count;
}
