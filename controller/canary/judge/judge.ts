import type { SideCounts } from "../../../api/kinds/canary.ts";
import { quantileMs, total } from "./latency.ts";
import { latencyFindings, MIN_LATENCY_SAMPLES } from "./latency-gates.ts";
import { binomialUpperTail, fisherUpperTail } from "./tails.ts";
import { type Finding, type JudgeRules, SUSPICION, type Window } from "./window.ts";
import { count, ms, percent } from "./wording.ts";

/** Tests against the old side that share the error budget of a look: errors, median, p95, p99. */
const RELATIVE_TESTS = 4;

/**
 * The judgement of one window.
 *
 * J1. A gate is broken (`bad`) when the requests would look like this with a probability of at most `alpha` if it were kept: a single
 *     failure or slow request breaks nothing, and looking often does not either, because `alpha` shrinks from look to look (`alphaOfLook`).
 * J2. Against the old side two things must hold: it is worse beyond chance, and by more than the gate allows.
 * J2a. Of latency two things more: it holds from stretch to stretch of time and not by the number of requests alone (`blocks.ts`), and in
 *      the later half of the window by itself: a pod that begins is slow for a while, which says nothing of its version.
 * J3. Both sides over the same window only: what slows down or breaks everybody breaks no relative gate.
 * J4. Silence is never success: with fewer than `minSamples` requests the finding is `few`.
 */
export function judge(window: Window, rules: JudgeRules, alpha: number): Finding {
  const findings = [
    errorRate(window, rules, alpha),
    errorIncrease(window, rules, alpha / RELATIVE_TESTS),
    ...latencyFindings(window, rules.gates, { limit: alpha, ratio: alpha / RELATIVE_TESTS }),
  ].filter((finding) => finding !== undefined);
  const bad = findings.find(({ verdict }) => verdict === "bad");
  if (bad) return bad;
  const few = tooFew(window, rules);
  if (few !== undefined) return { verdict: "few", sentence: few };
  return (
    findings.find(({ verdict }) => verdict === "unclear") ?? {
      verdict: "good",
      sentence: compared(window, rules),
    }
  );
}

/** What is missing for a judgement: requests, or among them such whose latency counts. */
function tooFew(
  { new: { requests }, names, blocks = [] }: Window,
  { minSamples }: JudgeRules,
): string | undefined {
  const needed = `at least ${count(minSamples)} are needed to judge it`;
  if (requests < minSamples) {
    const have = requests === 0 ? "no request" : `${count(requests)} request${requests === 1 ? "" : "s"}`;
    return `${names.new} had ${have} in this step: ${needed}`;
  }
  const timed = blocks.reduce((sum, block) => sum + total(block.new), 0);
  const neededTimed = Math.min(minSamples, MIN_LATENCY_SAMPLES);
  if (timed >= neededTimed) return undefined;
  return `${names.new} had ${count(timed)} requests in this step since its pods are warm: at least ${count(neededTimed)} are needed to judge its latency`;
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

function compared(window: Window, rules: JudgeRules): string {
  const p95 = [window.new, window.old].map(({ buckets }) => quantileMs(buckets, window.bounds, 0.95));
  const [now, before] = p95;
  const latency =
    now === undefined
      ? ""
      : `; 95th percentile ${ms(now)}${before === undefined ? "" : ` against ${ms(before)}`}`;
  return `${failuresSaid(window, sides(window, rules))}${latency}`;
}
