import { regularly } from "../../../net/regularly.ts";
import type { TriggerMetrics } from "../trigger-metrics.ts";
import type { InvocationJournal } from "./journal.ts";

export interface MeasureDeps {
  readonly journal: Pick<InvocationJournal, "depths">;
  readonly metrics: Pick<TriggerMetrics, "depth" | "oldestDueSeconds">;
  readonly signal: AbortSignal;
  /** Between two looks. */
  readonly everyMs: number;
}

/** Keeps the gauges of the queues up to date until `signal` is aborted. While Redis is away they say what it was. */
export async function measureQueues({ journal, metrics, signal, everyMs }: MeasureDeps): Promise<void> {
  let known = new Map<string, { namespace: string; target: string }>();
  const measure = async (): Promise<void> => {
    const depths = await journal.depths();
    const shown = new Map<string, { namespace: string; target: string }>();
    for (const { queue, waiting, running, dead, oldestDueMs } of depths) {
      const slash = queue.indexOf("/");
      const labels = { namespace: queue.slice(0, slash), target: queue.slice(slash + 1) };
      shown.set(queue, labels);
      for (const [state, count] of Object.entries({ waiting, running, dead }))
        metrics.depth.series({ ...labels, state }).value = count;
      metrics.oldestDueSeconds.series(labels).value = oldestDueMs / 1_000;
    }
    for (const [queue, labels] of known)
      if (!shown.has(queue)) {
        metrics.depth.remove(labels);
        metrics.oldestDueSeconds.remove(labels);
      }
    known = shown;
  };
  // What cannot be counted now is counted the next time; the state of Redis is told elsewhere.
  await regularly({ everyMs, firstAfterMs: 0, signal }, measure, () => undefined);
}
