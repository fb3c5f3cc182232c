import { addProcessMetrics, type MetricsRegistry, metricsRegistry } from "../../net/metrics.ts";
import type { PoolSnapshot } from "./pool.ts";

/** What the executor counts. Labels are outcomes and environments, never functions or pods. */
export interface ExecutorMetrics {
  /** One ended acquire: `ok` or an error code. */
  readonly acquired: (result: string, durationMs: number) => void;
  /** One ended specialisation. */
  readonly specialised: (outcome: string, durationMs: number) => void;
  readonly podCreated: () => void;
  /** `failed`: the pod ended by itself. */
  readonly podGone: (failed: boolean) => void;
  readonly text: () => string;
}

/** State that is read when the metrics are. */
export interface MeasuredState {
  readonly pools: () => readonly PoolSnapshot[];
  readonly phases: () => Iterable<string>;
  readonly waiters: () => number;
  readonly archiveBytes: () => number;
}

const ACQUIRE_BOUNDS_S = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const PHASES = ["starting", "generic", "claimed", "specialised", "leaving"];

export function createMetrics(state: MeasuredState): ExecutorMetrics {
  const registry = metricsRegistry();
  addProcessMetrics(registry);
  const acquires = registry.counter({
    name: "isotope_executor_acquires_total",
    help: "Ended acquire calls by result",
    labels: ["result"],
  });
  const acquireSeconds = registry
    .histogram({
      name: "isotope_executor_acquire_seconds",
      help: "Duration of acquire calls",
      bounds: ACQUIRE_BOUNDS_S,
    })
    .series({});
  const specialisations = registry.counter({
    name: "isotope_executor_specialisations_total",
    help: "Ended specialisations by outcome",
    labels: ["outcome"],
  });
  const specialiseSeconds = registry
    .histogram({
      name: "isotope_executor_specialise_seconds",
      help: "Duration of specialisations, from the claim to the pod's answer",
      bounds: ACQUIRE_BOUNDS_S,
    })
    .series({});
  const pods = registry.counter({
    name: "isotope_executor_pods_total",
    help: "Pods by what happened to them",
    labels: ["event"],
  });
  const refresh = stateGauges(registry, state);
  return {
    acquired: (result, durationMs) => {
      acquires.series({ result }).value += 1;
      acquireSeconds.observe(durationMs / 1000);
    },
    specialised: (outcome, durationMs) => {
      specialisations.series({ outcome }).value += 1;
      specialiseSeconds.observe(durationMs / 1000);
    },
    podCreated: () => {
      pods.series({ event: "created" }).value += 1;
    },
    podGone: (failed) => {
      pods.series({ event: failed ? "failed" : "discarded" }).value += 1;
    },
    text: () => {
      refresh();
      return registry.text();
    },
  };
}

function stateGauges(registry: MetricsRegistry, state: MeasuredState): () => void {
  const phase = registry.gauge({ name: "isotope_executor_pods", help: "Pods by phase", labels: ["phase"] });
  const pool = registry.gauge({
    name: "isotope_executor_pool_pods",
    help: "Generic pods of an environment by state, its target, and the starts that wait for one",
    labels: ["environment", "state"],
  });
  registry.gaugeOf({ name: "isotope_executor_waiters", help: "Acquire calls that wait" }, state.waiters);
  registry.gaugeOf(
    { name: "isotope_executor_archive_cache_bytes", help: "Archives in memory" },
    state.archiveBytes,
  );
  const known = new Set<string>();
  return () => {
    const counts = new Map(PHASES.map((name) => [name, 0]));
    for (const name of state.phases()) counts.set(name, (counts.get(name) ?? 0) + 1);
    for (const [name, count] of counts) phase.series({ phase: name }).value = count;
    const present = new Set<string>();
    for (const { environment, ready, starting, target, waiting } of state.pools()) {
      present.add(environment);
      known.add(environment);
      for (const [name, value] of Object.entries({ ready, starting, target, waiting }))
        pool.series({ environment, state: name }).value = value;
    }
    for (const environment of known) {
      if (present.has(environment)) continue;
      pool.remove({ environment });
      known.delete(environment);
    }
  };
}
