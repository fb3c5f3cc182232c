import type { MapActor } from "../definition/definition.ts";
import { LeaseLost } from "./lease-lost.ts";
import { collect, openItems, resultText } from "./map-items.ts";
import { type FailedItem, type Idler, performItem } from "./perform-item.ts";
import type { PerformerDeps } from "./performer-deps.ts";
import type { EffectCall, Performed } from "./ports.ts";

/*
 * One step over many items. Invariants:
 * 1. At most `maxConcurrency` items are under way, and no more items than that are in memory; results lie in the journal until all are there.
 * 2. An item's first result counts: it is in the journal before the item is over, so that a crash repeats only what was under way.
 * 3. More failed items than are tolerated end the step at once, and the calls that are under way.
 * 4. When all that is under way waits (for a callback, a child run, the next attempt), the run is given back until one of these comes.
 */

class AllWait extends Error {}

export async function performMap(
  deps: PerformerDeps,
  call: EffectCall,
  actor: MapActor,
  signal: AbortSignal,
): Promise<Performed> {
  const count = call.effect.map?.items ?? 0;
  const tolerated =
    typeof actor.tolerated === "number" ? actor.tolerated : Math.floor(count * actor.tolerated.share);
  const { key } = call.facts;
  const { token } = call.effect;
  const stop = new AbortController();
  const stopped = AbortSignal.any([signal, stop.signal]);
  let { failed } = await deps.journal.getCounts(key, token);
  let first: FailedItem | undefined;
  const items = openItems(deps, call, count);
  const lanes = idleLanes(deps, call, stopped, () => stop.abort(new AllWait("All items wait")));
  const work = async (): Promise<void> => {
    for (;;) {
      if (failed > tolerated || stopped.aborted) return;
      const next = await items.next();
      if (next === undefined) return;
      const outcome = await performItem(deps, call, actor.each, next, lanes.idle, stopped);
      if (outcome.kind === "failed") {
        failed += 1;
        first ??= { index: next.index, error: outcome.error, cause: outcome.cause };
      }
      const text = await resultText(deps, key, outcome);
      const stored = await deps.journal.putResult(
        call.lease,
        token,
        next.index,
        text,
        outcome.kind === "failed",
      );
      if (stored === "conflict") throw new LeaseLost("The lease of the run is lost");
    }
  };
  const workers = Array.from({ length: Math.min(count, Math.max(1, actor.maxConcurrency)) }, async () => {
    lanes.begin();
    try {
      await work();
    } finally {
      // Whoever ends before all items are done, by a fault or by one failure too many, ends the others.
      if (failed > tolerated || !items.over()) stop.abort(new Error("The map has ended"));
      lanes.end();
    }
  });
  const ends = await Promise.allSettled(workers);
  signal.throwIfAborted();
  if (failed > tolerated) return tooManyFailed(failed, tolerated, count, first);
  const faults = ends.flatMap((end) => (end.status === "rejected" ? [end.reason] : []));
  const fault = faults.find((reason) => !(reason instanceof AllWait));
  if (fault !== undefined) throw fault;
  if (faults.length > 0) return lanes.parked();
  return { kind: "done", output: { value: await collect(deps, call, count) } };
}

/** Counts who is busy: when all of them wait, `onAllWait` is called, once. */
function idleLanes(deps: PerformerDeps, call: EffectCall, signal: AbortSignal, onAllWait: () => void) {
  const waiting = new Map<number, number | undefined>();
  let lanes = 0;
  let wakeAt: number | undefined;
  const look = (): void => {
    if (lanes === 0 || waiting.size < lanes || signal.aborted) return;
    const times = [...waiting.values()].filter((at) => at !== undefined);
    wakeAt = times.length === 0 ? undefined : Math.min(...times);
    onAllWait();
  };
  const idle: Idler = async (item, untilMs) => {
    signal.throwIfAborted();
    if (call.arrivals.take(item)) return;
    if (untilMs !== undefined && untilMs <= deps.clock.now()) return;
    waiting.set(item, untilMs);
    try {
      await new Promise<void>((resolve, reject) => {
        const over = (): void => {
          stopTimer();
          stopListening();
          signal.removeEventListener("abort", abort);
        };
        const go = (): void => {
          over();
          resolve();
        };
        const abort = (): void => {
          over();
          reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
        };
        const stopListening = call.arrivals.listen((told) => {
          if (told === item && call.arrivals.take(item)) go();
        });
        const stopTimer = untilMs === undefined ? () => {} : deps.clock.after(untilMs - deps.clock.now(), go);
        signal.addEventListener("abort", abort, { once: true });
        look();
      });
    } finally {
      waiting.delete(item);
    }
  };
  return {
    idle,
    begin: () => void (lanes += 1),
    end: () => {
      lanes -= 1;
      look();
    },
    parked: (): Performed =>
      wakeAt === undefined
        ? { kind: "waiting" }
        : { kind: "later", afterMs: Math.max(0, wakeAt - deps.clock.now()), reason: "its items wait" },
  };
}

function tooManyFailed(
  failed: number,
  tolerated: number,
  count: number,
  first: FailedItem | undefined,
): Performed {
  const message = `${failed} of ${count} items failed, ${tolerated} are tolerated${first ? `; item ${first.index}: ${first.error.message}` : ""}`;
  const error = { type: first?.error.type ?? "Fission.BranchFailed", message };
  if (!first) return { kind: "failed", error };
  const { index, cause } = first;
  return {
    kind: "failed",
    error,
    cause: {
      index,
      type: first.error.type,
      message: first.error.message,
      ...(cause === undefined ? {} : { cause }),
    },
  };
}
