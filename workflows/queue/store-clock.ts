import type { Journal } from "../journal/journal.ts";

/**
 * The store's clock as this process knows it, without asking each time. Invariant: `now()` is never behind the store's clock by more than the store's
 * own millisecond, so that a time limit counted from it never ends early; it is ahead by one round trip at most.
 */
export interface StoreClock {
  now(): number;
  /** What has surely passed at the store: never ahead of its clock, behind by one round trip at most. What is due by it is not early. */
  passed(): number;
  /** Asks the store. */
  sync(): Promise<void>;
}

interface Sample {
  /** Add to the monotonic clock: the latest and the earliest that the store's clock can show. */
  readonly latest: number;
  readonly earliest: number;
}

/** Clocks drift: what was learned longer ago than this many samples counts no more. */
const KEPT_SAMPLES = 16;

/** @param monotonic ms that never go back */
export async function storeClock(
  journal: Pick<Journal, "now">,
  monotonic: () => number = () => performance.now(),
): Promise<StoreClock> {
  let samples: Sample[] = [];
  // Asked many times a step.
  let ahead = 0;
  let behind = 0;
  const sync = async (): Promise<void> => {
    const asked = monotonic();
    const time = await journal.now();
    const sample = { latest: time + 1 - asked, earliest: time - monotonic() };
    // Somebody set the store's clock: what was learned before says nothing any more.
    const agrees = samples.every(
      (other) => other.latest >= sample.earliest && other.earliest <= sample.latest,
    );
    samples = [...(agrees ? samples : []), sample].slice(-KEPT_SAMPLES);
    ahead = Math.min(...samples.map(({ latest }) => latest));
    behind = Math.max(...samples.map(({ earliest }) => earliest));
  };
  await sync();
  return {
    sync,
    passed: () => Math.floor(monotonic() + behind),
    now: () => Math.ceil(monotonic() + ahead),
  };
}
