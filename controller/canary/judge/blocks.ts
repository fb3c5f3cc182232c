import type { Block } from "../counts.ts";
import { studentUpperTail } from "./tails.ts";

/** With fewer blocks nothing is proved: the time was too short to tell the code from the moment. */
const MIN_BLOCKS = 6;
/** Neighbouring blocks resemble one another so far (Newey and West). */
const LAGS = 2;

/** What a request counts, by its bucket. */
export type Score = (bucket: number) => number;

/**
 * The probability that the new side scores higher than the old one by `effect`, or more, by chance, when it is blocks of time that are
 * independent and not requests. Requests wait together: for a processor, for the garbage collector, for a pod that begins. A hundred that
 * met one pause are one fact, and the number of requests says nothing of how often such a pause comes; how the blocks differ does.
 *
 * Undefined when there are too few blocks. `effect` is the mean score of the new side less that of the old one, or less what is allowed where there is no old side to compare.
 */
export function chanceInBlocks(
  blocks: readonly Block[],
  effect: number,
  score: { readonly new: Score; readonly old?: Score | undefined },
): number | undefined {
  const fresh = blocks.map((block) => scored(block.new, score.new));
  const old = blocks.map((block) => (score.old ? scored(block.old, score.old) : NOTHING));
  const residuals = residualsOf(fresh);
  const others = residualsOf(old);
  const of = residuals.map((residual, i) => residual - (others[i] ?? 0));
  const n = fresh.reduce((sum, { count }) => sum + count, 0);
  // Blocks of equal size that would tell as much.
  const worth = n ** 2 / fresh.reduce((sum, { count }) => sum + count ** 2, 0);
  if (!(worth >= MIN_BLOCKS)) return undefined;
  return studentUpperTail(effect / Math.sqrt(varianceOf(of)), worth - 1);
}

interface Scored {
  readonly count: number;
  readonly sum: number;
}
const NOTHING: Scored = { count: 0, sum: 0 };

const scored = (buckets: readonly number[], score: Score): Scored => ({
  count: buckets.reduce((sum, count) => sum + count, 0),
  sum: buckets.reduce((sum, count, i) => sum + count * score(i), 0),
});

/** What each block adds to the mean beyond its share. */
function residualsOf(blocks: readonly Scored[]): number[] {
  const n = blocks.reduce((sum, { count }) => sum + count, 0);
  if (n === 0) return blocks.map(() => 0);
  const mean = blocks.reduce((total, { sum }) => total + sum, 0) / n;
  return blocks.map(({ count, sum }) => (sum - mean * count) / n);
}

function varianceOf(residuals: readonly number[]): number {
  const products = (lag: number): number =>
    residuals.reduce((sum, residual, i) => sum + residual * (residuals[i + lag] ?? 0), 0);
  const alone = products(0);
  let together = alone;
  for (let lag = 1; lag <= LAGS; lag += 1) together += 2 * (1 - lag / (LAGS + 1)) * products(lag);
  return (Math.max(alone, together) * residuals.length) / Math.max(1, residuals.length - 1);
}
