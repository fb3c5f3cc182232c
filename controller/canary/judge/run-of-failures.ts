import type { SideCounts } from "../../../api/kinds/canary.ts";
import { failuresOf } from "./judge.ts";
import { binomialUpperTail } from "./tails.ts";
import type { Window } from "./window.ts";

/** How seldom a run of failures may come by chance in a look, of which there is one every second: five of five where 10 % may fail. */
const ALPHA = 2e-5;
const MIN_FAILURES = 5;
/** Pods that cannot be started, or die, are rarer than answers that fail: so few of them are enough. */
const MIN_PLATFORM_FAILURES = 3;
const PLATFORM_FAULT_RATE = 0.01;

/**
 * Looks at the last seconds alone: a new side that breaks down is taken back at once, whatever its step has gathered before. Gives the
 * sentence, or nothing. Failures that the old side has as well are no reason.
 */
export function runOfFailures(
  recent: Window,
  limits: { readonly maxErrorRate: number; readonly countClientErrors: boolean },
): string | undefined {
  const { names } = recent;
  const failed = failuresOf(recent.new, limits.countClientErrors);
  const requests = Math.max(recent.new.requests, failed);
  const faults = recent.new.platformErrors;
  if (
    faults >= MIN_PLATFORM_FAILURES &&
    isRun(faults, requests, Math.max(PLATFORM_FAULT_RATE, rate(recent.old, recent.old.platformErrors)))
  )
    return `${names.new} could not be started, or its pods died: ${faults} of the last ${requests} requests ended so`;
  const usual = Math.max(
    limits.maxErrorRate / 100,
    rate(recent.old, failuresOf(recent.old, limits.countClientErrors)),
  );
  if (failed >= MIN_FAILURES && isRun(failed, requests, usual))
    return `${names.new} failed ${failed} of the last ${requests} requests, ${names.old} ${failuresOf(recent.old, limits.countClientErrors)} of ${recent.old.requests}`;
  return undefined;
}

const isRun = (k: number, n: number, usual: number): boolean => binomialUpperTail(k, n, usual) <= ALPHA;

/** Share of a side that failed; 0 without requests. */
function rate(side: SideCounts, failures: number): number {
  const n = Math.max(side.requests, failures);
  return n === 0 ? 0 : failures / n;
}
