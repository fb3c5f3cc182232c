import { monitorEventLoopDelay } from "node:perf_hooks";

/*
 * A small Prometheus registry (text format 0.0.4). Every metric has a bound on its series; what comes beyond it is counted in one
 * series whose labels are all "other", so that no caller and no function can grow the process. Hot paths keep a series and change
 * its numbers; looking a series up by labels costs a string.
 */

export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";
const DEFAULT_MAX_SERIES = 2_000;
const LABEL_SEPARATOR = "\u0000";

interface MetricOptions<L extends string> {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly L[];
  readonly maxSeries?: number;
}

/** One time series of a counter or gauge. */
export interface NumberSeries {
  value: number;
}

/** One time series of a histogram. `counts[i]` = observations at most `bounds[i]` and above the bound before; the last = above all. */
export interface HistogramSeries {
  readonly counts: Float64Array;
  sum: number;
  observe(value: number): void;
}

export interface Metric<L extends string, S> {
  /** The series with these label values, made when it is new. */
  readonly series: (labels: Readonly<Record<L, string>>) => S;
  /** Forgets series whose label values include the given ones. */
  readonly remove: (labels: Partial<Readonly<Record<L, string>>>) => void;
}

export interface MetricsRegistry {
  counter<L extends string = never>(options: MetricOptions<L>): Metric<L, NumberSeries>;
  gauge<L extends string = never>(options: MetricOptions<L>): Metric<L, NumberSeries>;
  /** A gauge read when it is scraped. */
  gaugeOf(options: MetricOptions<never>, read: () => number): void;
  /** `bounds` are upper bounds, ascending. */
  histogram<L extends string = never>(
    options: MetricOptions<L> & { readonly bounds: readonly number[] },
  ): Metric<L, HistogramSeries>;
  /** Runs before each scrape, to bring gauges up to date. */
  onScrape(update: () => void): void;
  /** All metrics in the text format. */
  text(): string;
}

interface Written {
  write(lines: string[]): void;
}

export function metricsRegistry(): MetricsRegistry {
  const written = new Map<string, Written>();
  const updates: (() => void)[] = [];
  const add = <M extends Written>(name: string, metric: M): M => {
    if (!/^[a-z_][a-z0-9_]*$/.test(name))
      throw new RangeError(`Cannot name a metric "${name}": allowed are a-z 0-9 _`);
    if (written.has(name)) throw new RangeError(`Cannot register the metric "${name}" twice`);
    written.set(name, metric);
    return metric;
  };
  return {
    counter: (options) => add(options.name, numberMetric("counter", options)),
    gauge: (options) => add(options.name, numberMetric("gauge", options)),
    gaugeOf: (options, read) =>
      void add(options.name, {
        write: (lines) => lines.push(...head("gauge", options), `${options.name} ${read()}`),
      }),
    histogram: (options) => add(options.name, histogramMetric(options)),
    onScrape: (update) => void updates.push(update),
    text: () => {
      for (const update of updates) update();
      const lines: string[] = [];
      for (const metric of written.values()) metric.write(lines);
      return `${lines.join("\n")}\n`;
    },
  };
}

const head = (type: string, options: { name: string; help: string }) => [
  `# HELP ${options.name} ${options.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`,
  `# TYPE ${options.name} ${type}`,
];

interface SeriesTable<L extends string, S> extends Metric<L, S> {
  entries(): Iterable<readonly [labels: string, series: S]>;
}

function seriesTable<L extends string, S>(options: MetricOptions<L>, make: () => S): SeriesTable<L, S> {
  const names = options.labels ?? [];
  const max = options.maxSeries ?? DEFAULT_MAX_SERIES;
  const byKey = new Map<
    string,
    { readonly text: string; readonly values: readonly string[]; readonly series: S }
  >();
  const get = (values: readonly string[]): S => {
    const key = values.join(LABEL_SEPARATOR);
    const known = byKey.get(key);
    if (known) return known.series;
    if (byKey.size >= max && values.some((value) => value !== "other")) return get(names.map(() => "other"));
    const text = names.map((name, i) => `${name}="${escapeLabel(values[i] ?? "")}"`).join(",");
    const series = make();
    byKey.set(key, { text, values, series });
    return series;
  };
  return {
    series: (labels) => get(names.map((name) => labels[name])),
    remove: (labels) => {
      for (const [key, { values }] of byKey) {
        if (names.every((name, i) => labels[name] === undefined || labels[name] === values[i]))
          byKey.delete(key);
      }
    },
    entries: () => Array.from(byKey.values(), ({ text, series }) => [text, series] as const),
  };
}

const escapeLabel = (value: string) =>
  value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

function numberMetric<L extends string>(
  type: "counter" | "gauge",
  options: MetricOptions<L>,
): Metric<L, NumberSeries> & Written {
  const table = seriesTable<L, NumberSeries>(options, () => ({ value: 0 }));
  return {
    series: table.series,
    remove: table.remove,
    write: (lines) => {
      lines.push(...head(type, options));
      for (const [labels, series] of table.entries())
        lines.push(`${options.name}${labels === "" ? "" : `{${labels}}`} ${series.value}`);
    },
  };
}

function histogramMetric<L extends string>(
  options: MetricOptions<L> & { readonly bounds: readonly number[] },
): Metric<L, HistogramSeries> & Written {
  const { bounds, name } = options;
  const table = seriesTable<L, HistogramSeries>(options, () => histogramSeries(bounds));
  return {
    series: table.series,
    remove: table.remove,
    write: (lines) => {
      lines.push(...head("histogram", options));
      for (const [labels, series] of table.entries()) {
        const prefix = labels === "" ? "" : `${labels},`;
        let total = 0;
        for (let i = 0; i <= bounds.length; i += 1) {
          total += series.counts[i] ?? 0;
          lines.push(`${name}_bucket{${prefix}le="${bounds[i] ?? "+Inf"}"} ${total}`);
        }
        const suffix = labels === "" ? "" : `{${labels}}`;
        lines.push(`${name}_sum${suffix} ${series.sum}`, `${name}_count${suffix} ${total}`);
      }
    },
  };
}

function histogramSeries(bounds: readonly number[]): HistogramSeries {
  const counts = new Float64Array(bounds.length + 1);
  const series: HistogramSeries = {
    counts,
    sum: 0,
    observe: (value) => {
      let i = 0;
      while (i < bounds.length && value > (bounds[i] ?? Number.POSITIVE_INFINITY)) i += 1;
      counts[i] = (counts[i] ?? 0) + 1;
      series.sum += value;
    },
  };
  return series;
}

/** Adds what every process shows: CPU, memory, start time, event-loop delay. */
export function addProcessMetrics(registry: MetricsRegistry): void {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  const startSeconds = Date.now() / 1000 - process.uptime();
  registry.gaugeOf({ name: "process_start_time_seconds", help: "Start of the process" }, () => startSeconds);
  registry.gaugeOf({ name: "process_cpu_seconds_total", help: "CPU time, user and system" }, () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  registry.gaugeOf({ name: "process_resident_memory_bytes", help: "Resident memory" }, () =>
    process.memoryUsage.rss(),
  );
  registry.gaugeOf(
    { name: "nodejs_heap_used_bytes", help: "JavaScript heap in use" },
    () => process.memoryUsage().heapUsed,
  );
  registry.gaugeOf(
    { name: "nodejs_eventloop_delay_p99_seconds", help: "Event-loop delay since the last scrape" },
    () => {
      const p99 = delay.percentile(99) / 1e9;
      delay.reset();
      return p99;
    },
  );
}
