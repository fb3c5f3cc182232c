import type { TriggerMetrics } from "../trigger-metrics.ts";
import type { Deliver } from "./event.ts";

/** Counts and times every delivery; one that was aborted by its caller is none. */
export const measuredDeliver =
  (deliver: Deliver, metrics: Pick<TriggerMetrics, "deliveries" | "deliverySeconds">): Deliver =>
  async (target, event, options) => {
    const kind = target.type === "workflow" ? "workflow" : "function";
    const startedAt = performance.now();
    const outcome = await deliver(target, event, options);
    metrics.deliveries.series({ target: kind, outcome: outcome.kind }).value += 1;
    metrics.deliverySeconds.series({ target: kind }).observe((performance.now() - startedAt) / 1_000);
    return outcome;
  };
