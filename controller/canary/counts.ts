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
 *     started after `from`; a process that was there before but was not seen gives a baseline only. So does one for whose baseline
 *     there will be no room: it would count whole again and again.
 * C2. A counter that went back within one process was forgotten and began anew: it counts whole. A difference is never negative.
 * C3. A router that did not answer keeps its baseline: what it counted meanwhile is in a later difference.
 */
export function differences(
  before: { readonly routers: RouterBaselines | undefined; readonly from: string | undefined },
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
    const isFresh =
      known.size < MAX_ROUTERS &&
      before.from !== undefined &&
      Date.parse(reply.startedAt) > Date.parse(before.from);
    if (!baseline && !isFresh) continue;
    delta = {
      old: plus(delta.old, since(baseline?.old, now.old)),
      new: plus(delta.new, since(baseline?.new, now.new)),
    };
  }
  const silent = [...known.values()].filter(({ router }) => !answered.has(router));
  return { delta, routers: [...routers, ...silent].slice(0, MAX_ROUTERS) };
}

/** What both sides had in a window: in all, and the latencies in stretches of time of equal length, the oldest first. */
export type CountedWindow = NonNullable<CanaryConfigStatus["counts"]>;
export type Block = NonNullable<CountedWindow["blocks"]>[number];

/** Readings (of a second, as a rule) in a block at first: what happens in one moment lasts longer than one. */
const FIRST_BLOCK_READINGS = 2;
/** A window has so many blocks at most; of more, neighbours become one: long windows have long blocks. */
const MAX_BLOCKS = 16;

/**
 * A window with what came since the last reading. Latencies begin when the new side has had `warmUpRequests`: the first ones of a fresh
 * pod compile the code and open its connections.
 */
export function grown(
  before: CountedWindow = NO_TRAFFIC,
  delta: BothSides<SideCounts>,
  warmUpRequests: number,
): CountedWindow {
  const { blocks = [], blockReadings = FIRST_BLOCK_READINGS, readings = 0 } = before;
  const counts = { old: plus(before.old, delta.old), new: plus(before.new, delta.new) };
  if (before.new.requests < warmUpRequests) return counts;
  const block = { old: delta.old.buckets, new: delta.new.buckets };
  const last = readings % blockReadings === 0 ? undefined : blocks.at(-1);
  const all = last ? [...blocks.slice(0, -1), together(last, block)] : [...blocks, block];
  const longer = all.length > MAX_BLOCKS;
  return {
    ...counts,
    blocks: longer ? all.flatMap((each, i) => (i % 2 === 0 ? [together(each, all[i + 1])] : [])) : all,
    blockReadings: longer ? blockReadings * 2 : blockReadings,
    readings: readings + 1,
  };
}

/** Two blocks as one. */
export const together = (a: Block, b: Block | undefined): Block =>
  b === undefined ? a : { old: combined(a.old, b.old, sum), new: combined(a.new, b.new, sum) };

const sum = (x: number, y: number): number => x + y;

export function plus(a: SideCounts, b: SideCounts): SideCounts {
  return combine(a, b, sum);
}

function since(before: SideCounts | undefined, now: SideCounts): SideCounts {
  if (!before) return now;
  const difference = combine(now, before, (x, y) => x - y);
  const { buckets, ...numbers } = difference;
  return [...Object.values(numbers), ...buckets].some((value) => value < 0) ? now : difference;
}

function combine(a: SideCounts, b: SideCounts, of: (x: number, y: number) => number): SideCounts {
  return {
    requests: of(a.requests, b.requests),
    serverErrors: of(a.serverErrors, b.serverErrors),
    clientErrors: of(a.clientErrors, b.clientErrors),
    platformErrors: of(a.platformErrors, b.platformErrors),
    buckets: combined(a.buckets, b.buckets, of),
  };
}

/** Bucket by bucket, without what is empty at the end. */
function combined(
  a: readonly number[],
  b: readonly number[],
  of: (x: number, y: number) => number,
): number[] {
  const buckets = Array.from({ length: Math.max(a.length, b.length) }, (_, i) => of(a[i] ?? 0, b[i] ?? 0));
  return buckets.slice(0, buckets.findLastIndex((count) => count !== 0) + 1);
}

function countsOf({ revisions }: RevisionCounters, { uid, revision }: SideKey): SideCounts {
  return revisions
    .filter((each) => each.uid === uid && each.revision === revision)
    .reduce<SideCounts>((sum, each) => plus(sum, each), NO_COUNTS);
}
