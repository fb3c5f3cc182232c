import {
  addProcessMetrics,
  type HistogramSeries,
  type Metric,
  type MetricsRegistry,
  type NumberSeries,
} from "../../net/metrics.ts";
import type { Listener, Upstreams } from "./http/types.ts";

const STATUS_CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;
const LATENCY_BOUNDS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];

/** Counters of one revision of one function. */
export interface RevisionStats {
  /** Requests by first digit of the status minus one. */
  readonly byClass: readonly NumberSeries[];
  /** Requests whose client left first (499). */
  readonly gone: NumberSeries;
  readonly latencyMs: HistogramSeries;
  readonly waiting: NumberSeries;
  readonly inFlight: NumberSeries;
}

type RevisionLabel = "namespace" | "function" | "revision";

export interface RouterMetrics {
  revision(labels: Readonly<Record<RevisionLabel, string>>): RevisionStats;
  forgetRevision(labels: Readonly<Record<RevisionLabel, string>>): void;
  /** Error replies that the router made, by code of the error table. */
  readonly errors: Metric<"code", NumberSeries>;
  /** Failures between router and pod, by kind. */
  readonly upstreamFailures: Metric<"kind", NumberSeries>;
  /** Requests that a pod refused and that went on to another one, by reason. */
  readonly refusals: Metric<"reason", NumberSeries>;
  readonly acquires: Metric<"result", NumberSeries>;
  readonly suspects: Metric<"reason", NumberSeries>;
  /** Calls with an idempotency key: recorded, unrecorded (they run again when they are sent again), replayed. */
  readonly firstAnswers: Metric<"result", NumberSeries>;
}

export function routerMetrics(registry: MetricsRegistry): RouterMetrics {
  addProcessMetrics(registry);
  const revisionLabels = ["namespace", "function", "revision"] as const;
  const requests = registry.counter({
    name: "isotope_router_requests_total",
    help: "Requests to functions by class of status",
    labels: [...revisionLabels, "status"],
    maxSeries: 20_000,
  });
  const latency = registry.histogram({
    name: "isotope_router_request_duration_ms",
    help: "From the request's first byte to the answer's last",
    labels: revisionLabels,
    bounds: LATENCY_BOUNDS_MS,
    maxSeries: 4_000,
  });
  const waiting = registry.gauge({
    name: "isotope_router_waiting_requests",
    help: "Requests that wait for a pod",
    labels: revisionLabels,
    maxSeries: 4_000,
  });
  const inFlight = registry.gauge({
    name: "isotope_router_inflight_requests",
    help: "Requests in pods",
    labels: revisionLabels,
    maxSeries: 4_000,
  });
  const counter = <L extends string>(name: string, help: string, label: L) =>
    registry.counter<L>({ name, help, labels: [label], maxSeries: 100 });
  return {
    revision: (labels) => ({
      byClass: STATUS_CLASSES.map((status) => requests.series({ ...labels, status })),
      gone: requests.series({ ...labels, status: "499" }),
      latencyMs: latency.series(labels),
      waiting: waiting.series(labels),
      inFlight: inFlight.series(labels),
    }),
    forgetRevision: (labels) => {
      requests.remove(labels);
      latency.remove(labels);
      waiting.remove(labels);
      inFlight.remove(labels);
    },
    errors: counter("isotope_router_errors_total", "Error replies of the router by code", "code"),
    upstreamFailures: counter(
      "isotope_router_upstream_failures_total",
      "Failures between router and pod",
      "kind",
    ),
    refusals: counter(
      "isotope_router_refusals_total",
      "Requests that a pod refused before running them",
      "reason",
    ),
    acquires: counter("isotope_router_acquires_total", "Calls to the executor for a pod", "result"),
    suspects: counter("isotope_router_suspects_total", "Pods reported to the executor", "reason"),
    firstAnswers: counter(
      "isotope_router_first_answers_total",
      "Calls with an idempotency key by what became of their answer",
      "result",
    ),
  };
}

type ListenerCount =
  | "connectionsOpen"
  | "connectionsAccepted"
  | "connectionsRefused"
  | "rejected"
  | "tunnelsOpen";

/** Shows what the HTTP core counts. */
export function addListenerMetrics(
  registry: MetricsRegistry,
  listeners: Readonly<Record<string, Listener>>,
  upstreams: Upstreams,
): void {
  const perListener = (name: string, help: string, key: ListenerCount) => {
    const gauge = registry.gauge({ name, help, labels: ["listener"] });
    registry.onScrape(() => {
      for (const [listener, { counters }] of Object.entries(listeners))
        gauge.series({ listener }).value = counters[key];
    });
  };
  perListener("isotope_router_connections_open", "Client connections", "connectionsOpen");
  perListener(
    "isotope_router_connections_accepted",
    "Client connections since the start",
    "connectionsAccepted",
  );
  perListener(
    "isotope_router_connections_refused",
    "Client connections refused because of a limit",
    "connectionsRefused",
  );
  perListener(
    "isotope_router_rejected_requests",
    "Requests refused as malformed, too large or too slow",
    "rejected",
  );
  perListener("isotope_router_websockets_open", "Open WebSockets", "tunnelsOpen");
  registry.gaugeOf(
    { name: "isotope_router_pod_connections_open", help: "Connections to pods" },
    () => upstreams.counters.open,
  );
  registry.gaugeOf(
    { name: "isotope_router_pod_connections_made", help: "Connections to pods since the start" },
    () => upstreams.counters.connects,
  );
}
