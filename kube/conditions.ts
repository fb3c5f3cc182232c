import type { Condition } from "../api/kinds/index.ts";

export interface ConditionUpdate {
  type: string;
  status: "True" | "False" | "Unknown";
  /** CamelCase word, stable: programs compare it. */
  reason: string;
  /** One sentence for people: what is the matter and what to do. */
  message: string;
}

const MAX_MESSAGE = 4096;

/**
 * Conditions after `updates`. `lastTransitionTime` moves only when a status does; conditions of other types stay. Gives the same
 * array when nothing would change, so that callers can skip the write.
 */
export function setConditions(
  current: readonly Condition[] | undefined,
  updates: readonly ConditionUpdate[],
  context: { generation?: number | undefined; now: Date },
): readonly Condition[] {
  const before = current ?? [];
  const next = new Map(before.map((condition) => [condition.type, condition]));
  let changed = current === undefined && updates.length > 0;
  for (const update of updates) {
    const old = next.get(update.type);
    const condition = merge(old, update, context);
    if (old && sameCondition(old, condition)) continue;
    next.set(update.type, condition);
    changed = true;
  }
  return changed ? [...next.values()] : before;
}

export function findCondition(
  conditions: readonly Condition[] | undefined,
  type: string,
): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

function merge(
  old: Condition | undefined,
  update: ConditionUpdate,
  context: { generation?: number | undefined; now: Date },
): Condition {
  const message =
    update.message.length > MAX_MESSAGE ? `${update.message.slice(0, MAX_MESSAGE - 1)}…` : update.message;
  const time = old && old.status === update.status ? old.lastTransitionTime : undefined;
  return {
    type: update.type,
    status: update.status,
    reason: update.reason,
    message,
    lastTransitionTime: time ?? rfc3339(context.now),
    ...(context.generation === undefined ? {} : { observedGeneration: context.generation }),
  };
}

function sameCondition(a: Condition, b: Condition): boolean {
  return (
    a.status === b.status &&
    a.reason === b.reason &&
    a.message === b.message &&
    a.observedGeneration === b.observedGeneration
  );
}

/** metav1.Time: whole seconds. */
export function rfc3339(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}
