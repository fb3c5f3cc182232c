import type { Effect, RunRecord } from "./run-record.ts";

/** When a run without owner and with an empty inbox next has something to do: ms by the store's clock, 0 = at once, undefined = never. */
export function nextDueAt(record: RunRecord): number | undefined {
  if (record.status !== "running") {
    return undefined;
  }
  if (record.snapshot === "" && record.ending === undefined) {
    return 0;
  }
  const times = [
    ...Object.values(record.effects).map(effectDueAt),
    ...Object.values(record.timers).map((timer) => timer.dueAt),
    record.ending === undefined ? record.deadlineAt : undefined,
  ].filter((at) => at !== undefined);
  return times.length === 0 ? undefined : Math.min(...times);
}

/** When an effect is to be started, or has timed out: 0 = at once, undefined = it waits for somebody else without limit. */
export function effectDueAt(effect: Effect): number | undefined {
  return effect.waiting === undefined ? (effect.notBefore ?? 0) : effect.waiting.until;
}
