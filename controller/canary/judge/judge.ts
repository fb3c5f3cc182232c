import type { SideCounts } from "../../../api/kinds/canary.ts";
import { countAbove, mannWhitney, quantileMs, tailTest, total } from "./latency.ts";
import { binomialUpperTail, fisherUpperTail } from "./tails.ts";

/** What the new side must keep to; an absent limit is not looked at. Rates and increases in percent. */
export interface Gates {
  readonly maxErrorRate?: number | undefined;
  readonly maxErrorRateIncrease: number;
  readonly maxP50Ms?: number | undefined;
  readonly maxP95Ms?: number | undefined;
  readonly maxP99Ms?: number | undefined;
  readonly maxP50Ratio: number;
  readonly maxP95Ratio: number;
  readonly maxP99Ratio: number;
}

/** Both sides in one window: the same time, the same weights. */
export interface Window {
  readonly old: SideCounts;
  readonly new: SideCounts;
  readonly names: { readonly old: string; readonly new: string };
  readonly bounds: readonly number[];
}

export interface JudgeRules {
  readonly gates: Gates;
  readonly minSamples: number;
  readonly countClientErrors: boolean;
}

/**
 * `good`: nothing speaks against the new side. `bad`: it breaks a gate beyond doubt. `unclear`: it may break one; more requests will tell.
 * `few`: too few requests to say anything.
 */
export interface Finding {
  readonly verdict: "good" | "bad" | "unclear" | "few";
  /** One sentence with the evidence. */
  readonly sentence: string;
}

/** Below this p, what is not proved yet is reason enough to wait for more requests. */
const SUSPICION = 0.05;
/** Latency is compared from so many requests a side on, whatever `minSamples` says. */
const MIN_LATENCY_SAMPLES = 30;
/** A new request must be slower than an old one at least this often: a shift that nobody feels is none. */
const MIN_CLES = 0.56;
/** Tests against the old side that share the error budget of a look: errors, median, p95, p99. */
const RELATIVE_TESTS = 4;
/**
 * `minShiftMs`: a difference of less is the machine's, not the code's. The side with a twentieth of the requests has colder caches and
 * connections, and requests that wait for a processor do so together, so that a tail of some milliseconds is not many independent facts.
 */
const QUANTILES = [
  { q: 0.5, word: "median", max: "maxP50Ms", ratio: "maxP50Ratio", minShiftMs: 1 },
  { q: 0.95, word: "95th percentile", max: "maxP95Ms", ratio: "maxP95Ratio", minShiftMs: 5 },
  { q: 0.99, word: "99th percentile", max: "maxP99Ms", ratio: "maxP99Ratio", minShiftMs: 10 },
] as const;

/**
 * The judgement of one window.
 *
 * J1. A gate is broken (`bad`) when the requests would look like this with a probability of at most `alpha` if it were kept: a single
 *     failure or slow request breaks nothing, and looking often does not either, because `alpha` shrinks from look to look (`alphaOfLook`).
 * J2. Against the old side two things must hold: it is worse beyond chance, and by more than the gate allows.
 * J3. Both sides over the same window only: what slows down or breaks everybody breaks no relative gate.
 * J4. Silence is never success: with fewer than `minSamples` requests the finding is `few`.
 */
export function judge(window: Window, rules: JudgeRules, alpha: number): Finding {
  const findings = [
    errorRate(window, rules, alpha),
    errorIncrease(window, rules, alpha / RELATIVE_TESTS),
    ...QUANTILES.flatMap((quantile) => [
      latencyLimit(window, rules, quantile, alpha),
      latencyRatio(window, rules, quantile, alpha / RELATIVE_TESTS),
    ]),
  ].filter((finding) => finding !== undefined);
  const bad = findings.find(({ verdict }) => verdict === "bad");
  if (bad) return bad;
  const { requests } = window.new;
  if (requests < rules.minSamples) {
    const have = requests === 0 ? "no request" : `${count(requests)} request${requests === 1 ? "" : "s"}`;
    return {
      verdict: "few",
      sentence: `${window.names.new} had ${have} in this step: at least ${count(rules.minSamples)} are needed to judge it`,
    };
  }
  return (
    findings.find(({ verdict }) => verdict === "unclear") ?? {
      verdict: "good",
      sentence: compared(window, rules),
    }
  );
}

/** The error budget of the k-th look at one window (k from 1): all looks together spend at most `budget`, however many there are. */
export const alphaOfLook = (budget: number, k: number): number => budget / (k * (k + 1));

/** What counts against a side. */
export function failuresOf(side: SideCounts, countClientErrors: boolean): number {
  return side.serverErrors + side.platformErrors + (countClientErrors ? side.clientErrors : 0);
}

const trials = (side: SideCounts, failures: number): number => Math.max(side.requests, failures);

function sides({ old, new: next }: Window, { countClientErrors }: JudgeRules) {
  const [k1, k2] = [failuresOf(next, countClientErrors), failuresOf(old, countClientErrors)];
  return { k1, n1: trials(next, k1), k2, n2: trials(old, k2) };
}

function failuresSaid({ names }: Window, { k1, n1, k2, n2 }: ReturnType<typeof sides>): string {
  const evidence = `${count(k1)} of ${count(n1)} against ${count(k2)} of ${count(n2)}`;
  if (n2 === 0) return `${names.new} fails ${percent(k1, n1)} of its requests (${count(k1)} of ${count(n1)})`;
  return `${names.new} fails ${percent(k1, n1)} of its requests, ${names.old} ${percent(k2, n2)}: ${evidence}`;
}

function errorRate(window: Window, rules: JudgeRules, alpha: number): Finding | undefined {
  const limit = rules.gates.maxErrorRate;
  if (limit === undefined) return undefined;
  const both = sides(window, rules);
  const { k1, n1, k2, n2 } = both;
  if (n1 === 0 || k1 * 100 <= limit * n1) return undefined;
  const said = `${failuresSaid(window, both)}; at most ${limit} % may fail`;
  const broken = binomialUpperTail(k1, n1, limit / 100) <= alpha;
  // When the old side breaks the limit as well, taking the new one back would mend nothing.
  const alike = n2 > 0 && k2 * 100 > limit * n2 && fisherUpperTail(k1, n1, k2, n2) > SUSPICION;
  if (alike) return { verdict: "unclear", sentence: `${said}, but ${window.names.old} does no better` };
  return { verdict: broken ? "bad" : "unclear", sentence: said };
}

function errorIncrease(window: Window, rules: JudgeRules, alpha: number): Finding | undefined {
  const both = sides(window, rules);
  const { k1, n1, k2, n2 } = both;
  if (n1 === 0 || n2 === 0 || k1 / n1 - k2 / n2 <= rules.gates.maxErrorRateIncrease / 100) return undefined;
  const p = fisherUpperTail(k1, n1, k2, n2);
  if (p > SUSPICION) return undefined;
  return { verdict: p <= alpha ? "bad" : "unclear", sentence: failuresSaid(window, both) };
}

type Quantile = (typeof QUANTILES)[number];

function latencyLimit(
  window: Window,
  { gates }: JudgeRules,
  quantile: Quantile,
  alpha: number,
): Finding | undefined {
  const limit = gates[quantile.max];
  const { buckets } = window.new;
  const value = quantileMs(buckets, window.bounds, quantile.q);
  if (limit === undefined || value === undefined || value <= limit) return undefined;
  const slow = countAbove(buckets, window.bounds, limit);
  const all = total(buckets);
  const p = binomialUpperTail(slow, all, 1 - quantile.q);
  return {
    verdict: p <= alpha ? "bad" : "unclear",
    sentence: `${window.names.new} has a ${quantile.word} of ${ms(value)}, at most ${ms(limit)} is allowed: ${count(slow)} of ${count(all)} requests took longer`,
  };
}

function latencyRatio(
  window: Window,
  { gates }: JudgeRules,
  quantile: Quantile,
  alpha: number,
): Finding | undefined {
  const [slow, fast] = [window.new.buckets, window.old.buckets];
  const [n1, n2] = [total(slow), total(fast)];
  if (Math.min(n1, n2) < MIN_LATENCY_SAMPLES) return undefined;
  const now = quantileMs(slow, window.bounds, quantile.q);
  const before = quantileMs(fast, window.bounds, quantile.q);
  if (now === undefined || before === undefined || now / before <= gates[quantile.ratio]) return undefined;
  if (now - before < quantile.minShiftMs) return undefined;
  const shift = mannWhitney(slow, fast);
  if (quantile.q === 0.5 && shift.cles < MIN_CLES) return undefined;
  const p = quantile.q === 0.5 ? shift.p : tailTest(slow, fast, quantile.q);
  if (p > SUSPICION) return undefined;
  return {
    verdict: p <= alpha ? "bad" : "unclear",
    sentence: `${window.names.new} has a ${quantile.word} of ${ms(now)}, ${window.names.old} ${ms(before)} (${(now / before).toFixed(2)} times as long, over ${count(n1)} and ${count(n2)} requests)`,
  };
}

function compared(window: Window, rules: JudgeRules): string {
  const p95 = [window.new, window.old].map(({ buckets }) => quantileMs(buckets, window.bounds, 0.95));
  const [now, before] = p95;
  const latency =
    now === undefined
      ? ""
      : `; 95th percentile ${ms(now)}${before === undefined ? "" : ` against ${ms(before)}`}`;
  return `${failuresSaid(window, sides(window, rules))}${latency}`;
}

const NUMBER = new Intl.NumberFormat("en-US");
const count = (value: number): string => NUMBER.format(value);
const percent = (k: number, n: number): string => `${((100 * k) / n).toFixed(1)} %`;
const ms = (value: number): string =>
  value >= 1_000
    ? `${(value / 1_000).toFixed(2)} s`
    : `${value >= 10 ? value.toFixed(0) : value.toFixed(1)} ms`;
