/*
 * When more pods are worth asking for. A queue in front of busy pods is no reason by itself: requests of a fast function are served by
 * the pods there are before a new one could help, and on a machine that is busy already every further pod takes time from the others.
 */

/** A revision whose requests wait. */
export interface Backlog {
  /** At least 1. */
  readonly waiting: number;
  /** How long the first of them has waited. */
  readonly waitedMs: number;
  /** Requests that the pods within reach run at once. */
  readonly slots: number;
  /** Mean time that a request holds a slot; undefined while too few have ended to tell. */
  readonly serviceMs: number | undefined;
}

export interface ScaleUpRule {
  /** How long a request waits for a pod that may be free in a moment, where nothing speaks against another pod. */
  readonly delayMs: number;
  /** What waiting for the pods there are and running in one may take together. */
  readonly aboveMs: number;
}

export interface ScaleUp {
  /** From now on, should requests still wait then; 0 = now. */
  readonly inMs: number;
  /** Number of requests to ask room for. */
  readonly requests: number;
}

/**
 * Tells when to ask for room, and for how many requests.
 *
 * - No pod within reach: now, for all.
 * - Nothing known of the function yet, or it takes longer than `aboveMs` by itself: after `delayMs`, for all.
 * - The pods need longer for the queue than is left of `aboveMs`: after `delayMs`, for those that they would not get to in time.
 * - Else the pods there are should do. Once the first has waited by `aboveMs` longer than it should, for one: the estimate is wrong, but
 *   a pause of the machine looks the same.
 */
export function scaleUp(backlog: Backlog, rule: ScaleUpRule): ScaleUp {
  const { waiting, waitedMs, slots, serviceMs } = backlog;
  if (slots === 0) return { inMs: 0, requests: waiting };
  const soonMs = Math.max(0, rule.delayMs - waitedMs);
  if (serviceMs === undefined) return { inMs: soonMs, requests: waiting };
  const allowedMs = Math.max(0, rule.aboveMs - serviceMs);
  const expectedMs = (waiting * serviceMs) / slots;
  if (expectedMs > allowedMs) {
    const servedInTime = (slots * allowedMs) / serviceMs;
    return { inMs: soonMs, requests: Math.max(1, Math.ceil(waiting - servedInTime)) };
  }
  return { inMs: Math.max(soonMs, rule.aboveMs + expectedMs - waitedMs), requests: 1 };
}

/**
 * How many of the requests at once, waiting or running, are worth a slot by the same rule: the others are served in time by the same slots.
 * @param concurrency requests at once; the result is at most that
 */
export function slotsWorth(
  concurrency: number,
  serviceMs: number | undefined,
  rule: Pick<ScaleUpRule, "aboveMs">,
): number {
  if (serviceMs === undefined || serviceMs >= rule.aboveMs) return concurrency;
  return (concurrency * serviceMs) / rule.aboveMs;
}

/** So many requests say enough of a function. */
const ENOUGH_REQUESTS = 10;
/** How fast the past is forgotten. */
const MEMORY_MS = 1_000;
/** Most that one request changes the mean by, however long nothing was known before it. */
const MOST_WEIGHT = 1 / 8;

/**
 * Mean time that requests hold a slot. Each counts by the time since the one before it, so that the many which end together after a
 * pause of the machine do not pass for a slow function.
 */
export class ServiceTime {
  #requests = 0;
  #meanMs = 0;
  #lastMs = 0;

  /** Mean in ms, undefined while it would say little. */
  get meanMs(): number | undefined {
    return this.#requests < ENOUGH_REQUESTS ? undefined : this.#meanMs;
  }

  /** A request has held a slot for `heldMs` until `nowMs` of a monotonic clock. */
  observe(heldMs: number, nowMs: number): void {
    let weight = Math.min(Math.max(0, nowMs - this.#lastMs) / MEMORY_MS, MOST_WEIGHT);
    if (this.#requests < ENOUGH_REQUESTS) {
      this.#requests += 1;
      weight = 1 / this.#requests;
    }
    this.#lastMs = nowMs;
    this.#meanMs += (heldMs - this.#meanMs) * weight;
  }
}
