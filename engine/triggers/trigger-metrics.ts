import type { HistogramSeries, Metric, MetricsRegistry, NumberSeries } from "../../net/metrics.ts";

/** What the trigger service tells Prometheus; each part changes the numbers of what it does. Names begin with `isotope_triggers_`. */
export interface TriggerMetrics {
  /** Invocations that became durable, by the first word of their source (`http`, `timer`, `watch`, `destination`, `mqtrigger`). */
  readonly accepted: Metric<"source", NumberSeries>;
  /** What deliveries came to: `done`, `failed`, `rejected`, `overloaded`; `target` is `function` or `workflow`. */
  readonly deliveries: Metric<"target" | "outcome", NumberSeries>;
  /** Seconds of a delivery. */
  readonly deliverySeconds: Metric<"target", HistogramSeries>;
  /** What became of invocations after a delivery: `done`, `again`, `dead`, `cancelled`. */
  readonly settled: Metric<"outcome", NumberSeries>;
  /** Events of a queue that were given up on by their trigger, or that a part buried otherwise. */
  readonly buried: Metric<"source", NumberSeries>;
  /** Of all replicas: invocations of a function that wait, run, or are dead letters. */
  readonly depth: Metric<"namespace" | "target" | "state", NumberSeries>;
  /** Of all replicas: for how many seconds the first of a function's invocations has been due. */
  readonly oldestDueSeconds: Metric<"namespace" | "target", NumberSeries>;
  /** Seconds between the time of a timer's fire and when it was accepted. */
  readonly timerLatenessSeconds: Metric<never, HistogramSeries>;
  /** Fires of timers by outcome. */
  readonly timerFires: Metric<"outcome", NumberSeries>;
  /** Messages that a trigger's source has and its trigger has not dealt with. */
  readonly sourceLag: Metric<"namespace" | "trigger" | "type", NumberSeries>;
  /** 1 while this replica is connected to a trigger's source. */
  readonly sourceConnected: Metric<"namespace" | "trigger" | "type", NumberSeries>;
  /** Messages of a trigger's source by what became of them: `delivered`, `failed` (each try), `dead-lettered`; since its consumer began. */
  readonly sourceMessages: Metric<"namespace" | "trigger" | "type" | "outcome", NumberSeries>;
  /** Changes of watched objects that were passed on. */
  readonly watchEvents: Metric<"type", NumberSeries>;
}

const DELIVERY_BOUNDS_S = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const LATENESS_BOUNDS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600];

export function triggerMetrics(registry: MetricsRegistry): TriggerMetrics {
  const name = (rest: string): string => `isotope_triggers_${rest}`;
  const trigger = ["namespace", "trigger", "type"] as const;
  return {
    accepted: registry.counter({
      name: name("accepted_total"),
      help: "Asynchronous invocations that became durable, by what made them",
      labels: ["source"],
    }),
    deliveries: registry.counter({
      name: name("deliveries_total"),
      help: "Deliveries to functions and workflows, by what they came to",
      labels: ["target", "outcome"],
    }),
    deliverySeconds: registry.histogram({
      name: name("delivery_seconds"),
      help: "Duration of deliveries",
      labels: ["target"],
      bounds: DELIVERY_BOUNDS_S,
    }),
    settled: registry.counter({
      name: name("settled_total"),
      help: "What became of invocations after a delivery; dead = they became dead letters",
      labels: ["outcome"],
    }),
    buried: registry.counter({
      name: name("buried_total"),
      help: "Events that became dead letters without having been queued here, by what made them",
      labels: ["source"],
    }),
    depth: registry.gauge({
      name: name("invocations"),
      help: "Invocations that wait, run or are dead letters; every replica says the same",
      labels: ["namespace", "target", "state"],
    }),
    oldestDueSeconds: registry.gauge({
      name: name("oldest_due_seconds"),
      help: "For how long the first waiting invocation has been due; every replica says the same",
      labels: ["namespace", "target"],
    }),
    timerLatenessSeconds: registry.histogram({
      name: name("timer_lateness_seconds"),
      help: "Time between a fire and its acceptance",
      bounds: LATENESS_BOUNDS_S,
    }),
    timerFires: registry.counter({
      name: name("timer_fires_total"),
      help: "Fires of timers by outcome",
      labels: ["outcome"],
    }),
    sourceLag: registry.gauge({
      name: name("source_lag"),
      help: "Messages of a source that its trigger has not dealt with",
      labels: trigger,
    }),
    sourceConnected: registry.gauge({
      name: name("source_connected"),
      help: "1 while this replica is connected to the source of a trigger",
      labels: trigger,
    }),
    sourceMessages: registry.counter({
      name: name("source_messages_total"),
      help: "Messages of a source: delivered, failed (each try), dead-lettered (to the error topic or the dead letters)",
      labels: [...trigger, "outcome"],
    }),
    watchEvents: registry.counter({
      name: name("watch_events_total"),
      help: "Changes of watched objects that were passed on",
      labels: ["type"],
    }),
  };
}

/** First word of a source, which bounds the number of series: `timer/nightly` → `timer`. */
export const sourceKind = (source: string): string => source.split("/", 1)[0] ?? "";
