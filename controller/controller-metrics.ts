import type { MetricsRegistry } from "../net/metrics.ts";
import type { Controller } from "./controller.ts";

/** Queues and outcomes of the reconcilers, running builds, and how stale the local copies are; read when they are scraped. */
export function controllerMetrics(
  registry: MetricsRegistry,
  controller: Pick<Controller, "stats" | "buildsRunning" | "world">,
): void {
  const depth = registry.gauge({
    name: "isotope_reconcile_queue_depth",
    help: "Keys that wait",
    labels: ["kind"],
  });
  const total = registry.counter({
    name: "isotope_reconcile_total",
    help: "Reconciles by outcome",
    labels: ["kind", "outcome"],
  });
  registry.onScrape(() => {
    for (const { name: kind, ...stats } of controller.stats()) {
      depth.series({ kind }).value = stats.depth;
      total.series({ kind, outcome: "succeeded" }).value = stats.succeeded;
      total.series({ kind, outcome: "failed" }).value = stats.failed;
      total.series({ kind, outcome: "terminal" }).value = stats.terminal;
    }
  });
  registry.gaugeOf({ name: "isotope_builds_running", help: "Builds that run" }, () =>
    controller.buildsRunning(),
  );
  registry.gaugeOf(
    {
      name: "isotope_informer_staleness_seconds",
      help: "Longest time for which one of the local copies was not known to be current",
    },
    () => Math.min(controller.world.stalenessMs() / 1000, 1e9),
  );
}
