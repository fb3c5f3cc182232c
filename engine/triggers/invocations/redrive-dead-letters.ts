import type { InvocationJournal } from "./journal.ts";
import type { Spills } from "./spills.ts";

const KEPT_AT_ONCE = 16;

/**
 * Dead letters wait again, each with a body that lasts for its new life: that is seen to first, so that none waits whose body goes before it.
 * @returns how many
 * @throws {PlatformError} storage_unavailable, storage_full: none was redriven
 */
export async function redriveDeadLetters(
  journal: Pick<InvocationJournal, "redrive" | "spilled">,
  spills: Pick<Spills, "keep" | "remove">,
  ids: readonly string[],
): Promise<number> {
  const spilled = [...(await journal.spilled(ids))];
  const kept = new Map<string, string>();
  for (let at = 0; at < spilled.length; at += KEPT_AT_ONCE)
    await Promise.all(
      spilled.slice(at, at + KEPT_AT_ONCE).map(async ([id, spill]) => {
        const longer = await spills.keep(spill);
        // Without its body it becomes a dead letter again, which says so.
        if (longer !== undefined) kept.set(id, longer);
      }),
    );
  const { count, spills: unused } = await journal.redrive(ids, kept);
  await removeAll(spills, unused);
  return count;
}

/** Removes what no record names any more; what cannot be removed now goes by its time. */
export async function removeAll(spills: Pick<Spills, "remove">, unused: readonly string[]): Promise<void> {
  await Promise.allSettled(unused.map((spill) => spills.remove(spill)));
}
