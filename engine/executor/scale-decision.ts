import type { Load } from "./load-book.ts";

/** What a revision is to be scaled by. */
export interface ScaleTarget {
  readonly requestsPerPod: number;
  /** Share of `requestsPerPod` that a pod is to have, above 0 and at most 1; the rest is room for what comes while pods start. */
  readonly utilization: number;
  /** Requests per second that one pod is to have; undefined = concurrency alone counts. */
  readonly requestsPerSecond: number | undefined;
  readonly minPods: number;
  readonly maxPods: number;
  /** So long a lower number must hold before it is taken. */
  readonly downAfterMs: number;
  /** The last pod goes when there was no request for so long. */
  readonly toZeroAfterMs: number;
}

/** What the decision remembers of earlier ones; `initialScale` to begin with. */
export interface ScaleState {
  /** Numbers wanted within the last `downAfterMs`, oldest first, each larger than those after it. */
  readonly wanted: readonly { readonly atMs: number; readonly pods: number }[];
  readonly lastActiveMs: number;
}

export const initialScale = (nowMs: number): ScaleState => ({ wanted: [], lastActiveMs: nowMs });

/**
 * Pods that a revision should have: up at once, down to the highest number of the last `downAfterMs`, to zero after `toZeroAfterMs`
 * without a request. Pure; `nowMs` must not go backwards.
 */
export function decideScale(
  state: ScaleState,
  load: Load,
  nowMs: number,
  target: ScaleTarget,
): { readonly pods: number; readonly state: ScaleState } {
  const active = load.concurrency > 0 || load.requestsPerSecond > 0;
  const lastActiveMs = active ? nowMs : state.lastActiveMs;
  const idle = !active && nowMs - lastActiveMs >= target.toZeroAfterMs;
  const now = Math.max(podsFor(load, target), idle ? 0 : 1);
  const recent = state.wanted.filter(({ atMs, pods }) => atMs > nowMs - target.downAfterMs && pods > now);
  const wanted = [...recent, { atMs: nowMs, pods: now }];
  const highest = idle ? 0 : (wanted[0]?.pods ?? now);
  return { pods: clamp(highest, target.minPods, target.maxPods), state: { wanted, lastActiveMs } };
}

/** Pods that the load fills as far as they are to be filled. */
export function podsFor(load: Load, target: ScaleTarget): number {
  const perPod = Math.max(1, target.requestsPerPod * target.utilization);
  const byConcurrency = Math.ceil(load.concurrency / perPod);
  if (target.requestsPerSecond === undefined) return byConcurrency;
  return Math.max(byConcurrency, Math.ceil(load.requestsPerSecond / target.requestsPerSecond));
}

const clamp = (value: number, least: number, most: number): number =>
  Math.max(Math.min(value, most), Math.min(least, most));
