import type { SideCounts } from "../../../api/kinds/canary.ts";
import type { Block } from "../counts.ts";

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
  /** Latencies by stretches of time; without them nothing is proved about latency. */
  readonly blocks?: readonly Block[] | undefined;
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
export const SUSPICION = 0.05;
