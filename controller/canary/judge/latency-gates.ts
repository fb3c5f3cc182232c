import { type Block, together } from "../counts.ts";
import { chanceInBlocks, type Score } from "./blocks.ts";
import {
  type Buckets,
  countAbove,
  mannWhitney,
  quantileMs,
  quickened,
  sharesBelow,
  tailTest,
  total,
} from "./latency.ts";
import { binomialUpperTail } from "./tails.ts";
import { type Finding, type Gates, SUSPICION, type Window } from "./window.ts";
import { count, ms } from "./wording.ts";

/** Latency is compared from so many requests a side on, whatever `minSamples` says. */
export const MIN_LATENCY_SAMPLES = 30;
/** A new request must be slower than an old one at least this often: a shift that nobody feels is none. */
const MIN_CLES = 0.56;

/**
 * `minShiftMs`: a difference of less is the machine's, not the code's. The side with a twentieth of the requests has colder caches and
 * connections, and requests that wait for a processor do so together, so that a tail of some milliseconds is not many independent facts.
 */
const QUANTILES = [
  { q: 0.5, word: "median", max: "maxP50Ms", ratio: "maxP50Ratio", minShiftMs: 1 },
  { q: 0.95, word: "95th percentile", max: "maxP95Ms", ratio: "maxP95Ratio", minShiftMs: 5 },
  { q: 0.99, word: "99th percentile", max: "maxP99Ms", ratio: "maxP99Ratio", minShiftMs: 10 },
] as const;
type Quantile = (typeof QUANTILES)[number];

/** What speaks against the latency of the new side: its own limits, and the comparison with the old side. */
export function latencyFindings(
  window: Window,
  gates: Gates,
  alphas: { readonly limit: number; readonly ratio: number },
): Finding[] {
  return QUANTILES.flatMap((quantile) => [
    latencyLimit(window, gates, quantile, alphas.limit),
    latencyRatio(window, gates, quantile, alphas.ratio),
  ]).filter((finding) => finding !== undefined);
}

function latencyLimit(window: Window, gates: Gates, quantile: Quantile, alpha: number): Finding | undefined {
  const { bounds, names, blocks = [] } = window;
  const limit = gates[quantile.max];
  if (limit === undefined) return undefined;
  const { new: buckets } = whole(blocks);
  const breaks = (of: Buckets): boolean => (quantileMs(of, bounds, quantile.q) ?? 0) > limit;
  if (!breaks(buckets)) return undefined;
  const [slow, all] = [countAbove(buckets, bounds, limit), total(buckets)];
  const isSlow: Score = (bucket) => ((bounds[bucket - 1] ?? 0) >= limit ? 1 : 0);
  const chances = {
    byRequests: binomialUpperTail(slow, all, 1 - quantile.q),
    byBlocks: chanceInBlocks(blocks, slow / all - (1 - quantile.q), { new: isSlow }),
  };
  const verdict = verdictOf(chances, chances, { alpha, isLasting: breaks(laterHalf(blocks).new) });
  return {
    // Who is above a limit of its own is not let through for want of proof.
    verdict: verdict ?? "unclear",
    sentence: `${names.new} has a ${quantile.word} of ${ms(quantileMs(buckets, bounds, quantile.q) ?? 0)}, at most ${ms(limit)} is allowed: ${count(slow)} of ${count(all)} requests took longer`,
  };
}

function latencyRatio(window: Window, gates: Gates, quantile: Quantile, alpha: number): Finding | undefined {
  const { bounds, names, blocks = [] } = window;
  const { new: slow, old: fast } = whole(blocks);
  if (Math.min(total(slow), total(fast)) < MIN_LATENCY_SAMPLES) return undefined;
  const shift = shiftOf(slow, fast, bounds, quantile.q);
  const breaks = (found: typeof shift): found is NonNullable<typeof shift> =>
    found !== undefined &&
    found.now / found.before > gates[quantile.ratio] &&
    found.now - found.before >= quantile.minShiftMs;
  if (!breaks(shift)) return undefined;
  if (quantile.q === 0.5 && mannWhitney(slow, fast).cles < MIN_CLES) return undefined;
  // What has to be proved is more than half of what is allowed: no two pods are equally fast for ever.
  const by = Math.sqrt(gates[quantile.ratio]);
  const sooner = blocks.map((block) => ({ ...block, new: quickened(block.new, bounds, by) }));
  const compare = quantile.q === 0.5 ? wholeShift : tailShift(quantile.q);
  const chances = (given: readonly Block[]): Chances => {
    const { p, effect, score } = compare(whole(given).new, fast);
    return { byRequests: p, byBlocks: chanceInBlocks(given, effect, score) };
  };
  const late = laterHalf(blocks);
  const isLasting = breaks(shiftOf(late.new, late.old, bounds, quantile.q));
  const verdict = verdictOf(chances(blocks), chances(sooner), { alpha, isLasting });
  if (verdict === undefined) return undefined;
  const { now, before } = shift;
  return {
    verdict,
    sentence: `${names.new} has a ${quantile.word} of ${ms(now)}, ${names.old} ${ms(before)} (${(now / before).toFixed(2)} times as long, over ${count(total(slow))} and ${count(total(fast))} requests)`,
  };
}

/** How likely chance alone looks like this, were requests, or blocks, independent; the latter is undefined when they are too few. */
interface Chances {
  readonly byRequests: number;
  readonly byBlocks: number | undefined;
}

/** @param suspicion that the new side is worse at all @param proof that it is worse by as much as has to be proved */
function verdictOf(
  suspicion: Chances,
  proof: Chances,
  { alpha, isLasting }: { alpha: number; isLasting: boolean },
): "bad" | "unclear" | undefined {
  if (suspicion.byRequests > SUSPICION) return undefined;
  if (suspicion.byBlocks === undefined) return "unclear";
  if (suspicion.byBlocks > SUSPICION || !isLasting) return undefined;
  return Math.max(proof.byRequests, proof.byBlocks ?? 1) <= alpha ? "bad" : "unclear";
}

interface Compared {
  /** One-sided, were the requests independent of one another. */
  readonly p: number;
  readonly effect: number;
  readonly score: { readonly new: Score; readonly old: Score };
}

function wholeShift(slow: Buckets, fast: Buckets): Compared {
  const { p, cles } = mannWhitney(slow, fast);
  const [ofFast, ofSlow] = [sharesBelow(fast), sharesBelow(slow)];
  const score = { new: (bucket: number) => ofFast(bucket), old: (bucket: number) => ofSlow(bucket) };
  return { p, effect: cles - 0.5, score };
}

const tailShift =
  (q: number) =>
  (slow: Buckets, fast: Buckets): Compared => {
    const { p, from } = tailTest(slow, fast, q);
    const isTail: Score = (bucket) => (bucket >= from ? 1 : 0);
    const share = (of: Buckets): number => total(of.slice(from)) / total(of);
    return { p, effect: share(slow) - share(fast), score: { new: isTail, old: isTail } };
  };

function shiftOf(slow: Buckets, fast: Buckets, bounds: readonly number[], q: number) {
  const [now, before] = [quantileMs(slow, bounds, q), quantileMs(fast, bounds, q)];
  return now === undefined || before === undefined ? undefined : { now, before };
}

const whole = (blocks: readonly Block[]): Block => blocks.reduce(together, { old: [], new: [] });

const laterHalf = (blocks: readonly Block[]): Block => whole(blocks.slice(Math.floor(blocks.length / 2)));
