import type { SideCounts } from "../../api/kinds/index.ts";
import type { ReleaseSecond } from "../../api/wire/releases.ts";
import { LATENCY_BUCKET_BOUNDS_MS } from "../../api/wire/counters.ts";
import { type BothSides, NO_TRAFFIC, plus } from "./counts.ts";
import { failuresOf } from "./judge/judge.ts";
import { quantileMs } from "./judge/latency.ts";

interface Second {
  readonly at: Date;
  /** Time since the reading before. */
  readonly ms: number;
  readonly delta: BothSides<SideCounts>;
}

const KEPT = 60;

/** The last readings of one release, for the live view and for the look at the last seconds. In memory only. */
export interface RecentSeconds {
  add(second: Second): void;
  /** What came since then, and in how many milliseconds. */
  since(from: Date): { counts: BothSides<SideCounts>; ms: number };
  view(side: "old" | "new", countClientErrors: boolean): ReleaseSecond[];
}

export function recentSeconds(): RecentSeconds {
  const seconds: Second[] = [];
  return {
    add: (second) => {
      seconds.push(second);
      if (seconds.length > KEPT) seconds.shift();
    },
    since: (from) => {
      const wanted = seconds.filter(({ at }) => at > from);
      return {
        ms: wanted.reduce((sum, { ms }) => sum + ms, 0),
        counts: wanted.reduce(
          (sum, { delta }) => ({ old: plus(sum.old, delta.old), new: plus(sum.new, delta.new) }),
          NO_TRAFFIC,
        ),
      };
    },
    view: (side, countClientErrors) =>
      seconds.map(({ at, delta }) => ({
        at: at.toISOString(),
        requests: delta[side].requests,
        errors: failuresOf(delta[side], countClientErrors),
        ...quantiles(delta[side]),
      })),
  };
}

/** p50, p95 and p99 in ms; nothing without requests. */
export function quantiles({ buckets }: SideCounts): Pick<ReleaseSecond, "p50Ms" | "p95Ms" | "p99Ms"> {
  const at = (q: number) => quantileMs(buckets, LATENCY_BUCKET_BOUNDS_MS, q);
  const [p50Ms, p95Ms, p99Ms] = [at(0.5), at(0.95), at(0.99)];
  if (p50Ms === undefined || p95Ms === undefined || p99Ms === undefined) return {};
  return { p50Ms, p95Ms, p99Ms };
}
