/** Counters and histograms of the executor, in Prometheus' text format. Labels are bounded: no function names, no pod names. */
export interface ExecutorMetrics {
  /** One ended acquire: "ok" or an error code. */
  readonly acquired: (result: string, durationMs: number) => void;
  /** One ended specialisation: outcome and duration. */
  readonly specialised: (outcome: string, durationMs: number) => void;
  /** One discarded or lost pod; `reason` is a short fixed word. */
  readonly podGone: (failed: boolean) => void;
  readonly podCreated: () => void;
  readonly text: (gauges: readonly Gauge[]) => string;
}

export interface Gauge {
  readonly name: string;
  readonly help: string;
  readonly values: readonly { readonly labels: Record<string, string>; readonly value: number }[];
}

const BUCKETS_S = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

interface Histogram {
  readonly counts: number[];
  sum: number;
  count: number;
}

export function createMetrics(): ExecutorMetrics {
  const acquires = new Map<string, number>();
  const specialisations = new Map<string, number>();
  const acquireSeconds = histogram();
  const specializeSeconds = histogram();
  let created = 0;
  let discarded = 0;
  let failed = 0;
  const count = (counters: Map<string, number>, name: string) =>
    counters.set(name, (counters.get(name) ?? 0) + 1);
  return {
    acquired: (result, durationMs) => {
      count(acquires, result);
      observe(acquireSeconds, durationMs / 1000);
    },
    specialised: (outcome, durationMs) => {
      count(specialisations, outcome);
      observe(specializeSeconds, durationMs / 1000);
    },
    podGone: (byItself) => {
      if (byItself) failed += 1;
      else discarded += 1;
    },
    podCreated: () => {
      created += 1;
    },
    text: (gauges) =>
      [
        counters("isotope_executor_acquires_total", "Ended acquire calls by result", "result", acquires),
        histogramText("isotope_executor_acquire_seconds", "Duration of acquire calls", acquireSeconds),
        counters(
          "isotope_executor_specialisations_total",
          "Ended specialisations by outcome",
          "outcome",
          specialisations,
        ),
        histogramText(
          "isotope_executor_specialise_seconds",
          "Duration of specialisations",
          specializeSeconds,
        ),
        counters(
          "isotope_executor_pods_total",
          "Pods by what happened to them",
          "event",
          new Map(Object.entries({ created, discarded, failed })),
        ),
        ...gauges.map(gaugeText),
      ].join(""),
  };
}

const histogram = (): Histogram => ({ counts: BUCKETS_S.map(() => 0), sum: 0, count: 0 });

function observe(target: Histogram, seconds: number): void {
  target.sum += seconds;
  target.count += 1;
  for (const [index, limit] of BUCKETS_S.entries())
    if (seconds <= limit) target.counts[index] = (target.counts[index] ?? 0) + 1;
}

const head = (name: string, help: string, type: string) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;

function counters(name: string, help: string, label: string, values: Map<string, number>): string {
  return (
    head(name, help, "counter") +
    [...values].map(([key, value]) => `${name}{${label}="${key}"} ${value}\n`).join("")
  );
}

function histogramText(name: string, help: string, { counts, sum, count }: Histogram): string {
  const buckets = BUCKETS_S.map(
    (limit, index) => `${name}_bucket{le="${limit}"} ${counts[index] ?? 0}\n`,
  ).join("");
  return `${head(name, help, "histogram")}${buckets}${name}_bucket{le="+Inf"} ${count}\n${name}_sum ${sum}\n${name}_count ${count}\n`;
}

function gaugeText({ name, help, values }: Gauge): string {
  const lines = values.map(({ labels, value }) => {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${text.replace(/["\\\n]/g, "_")}"`);
    return `${name}{${pairs.join(",")}} ${value}\n`;
  });
  return head(name, help, "gauge") + lines.join("");
}
