import type { CanaryConfigStatus, SideCounts } from "../../api/kinds/canary.ts";
import type { RevisionCounters } from "../../api/wire/counters.ts";

export interface BothSides<T> {
  readonly old: T;
  readonly new: T;
}

/** Which counters of a router belong to a side. */
export interface SideKey {
  readonly uid: string;
  readonly revision: string;
}

type RouterBaselines = NonNullable<CanaryConfigStatus["routers"]>;

export const NO_COUNTS: SideCounts = {
  requests: 0,
  serverErrors: 0,
  clientErrors: 0,
  platformErrors: 0,
  buckets: [],
};
export const NO_TRAFFIC: BothSides<SideCounts> = { old: NO_COUNTS, new: NO_COUNTS };
const MAX_ROUTERS = 64;

/**
 * What happened since the last reading, and the baselines of the next one.
 *
 * C1. A router is known by the id of its process: a counter that begins at 0 again is one of another id, and counts whole if the process
 *     started after the last reading; a process that was there before but was not seen gives a baseline only.
 * C2. A counter that went back within one process was forgotten and began anew: it counts whole. A difference is never negative.
 * C3. A router that did not answer keeps its baseline: what it counted meanwhile is in a later difference.
 */
export function differences(
  before: { readonly routers: RouterBaselines | undefined; readonly readAt: string | undefined },
  replies: readonly RevisionCounters[],
  sides: BothSides<SideKey>,
): { delta: BothSides<SideCounts>; routers: RouterBaselines } {
  const known = new Map((before.routers ?? []).map((baseline) => [baseline.router, baseline]));
  const answered = new Set(replies.map(({ router }) => router));
  let delta = NO_TRAFFIC;
  const routers: RouterBaselines = [];
  for (const reply of replies) {
    const now = { old: countsOf(reply, sides.old), new: countsOf(reply, sides.new) };
    routers.push({ router: reply.router, ...now });
    const baseline = known.get(reply.router);
    const isFresh = before.readAt !== undefined && Date.parse(reply.startedAt) > Date.parse(before.readAt);
    if (!baseline && !isFresh) continue;
    delta = {
      old: plus(delta.old, since(baseline?.old, now.old)),
      new: plus(delta.new, since(baseline?.new, now.new)),
    };
  }
  const silent = [...known.values()].filter(({ router }) => !answered.has(router));
  return { delta, routers: [...routers, ...silent].slice(0, MAX_ROUTERS) };
}

export function plus(a: SideCounts, b: SideCounts): SideCounts {
  return combine(a, b, (x, y) => x + y);
}

function since(before: SideCounts | undefined, now: SideCounts): SideCounts {
  if (!before) return now;
  const difference = combine(now, before, (x, y) => x - y);
  const { buckets, ...numbers } = difference;
  return [...Object.values(numbers), ...buckets].some((value) => value < 0) ? now : difference;
}

function combine(a: SideCounts, b: SideCounts, of: (x: number, y: number) => number): SideCounts {
  const buckets: number[] = [];
  for (let i = 0; i < Math.max(a.buckets.length, b.buckets.length); i += 1)
    buckets.push(of(a.buckets[i] ?? 0, b.buckets[i] ?? 0));
  return {
    requests: of(a.requests, b.requests),
    serverErrors: of(a.serverErrors, b.serverErrors),
    clientErrors: of(a.clientErrors, b.clientErrors),
    platformErrors: of(a.platformErrors, b.platformErrors),
    buckets: trimmed(buckets),
  };
}

function countsOf({ revisions }: RevisionCounters, { uid, revision }: SideKey): SideCounts {
  return revisions
    .filter((each) => each.uid === uid && each.revision === revision)
    .reduce<SideCounts>((sum, each) => plus(sum, each), NO_COUNTS);
}

const trimmed = (buckets: readonly number[]): number[] =>
  buckets.slice(0, buckets.findLastIndex((count) => count !== 0) + 1);
