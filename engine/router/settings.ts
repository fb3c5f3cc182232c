import {
  bytes,
  durationMs,
  flagsOf,
  FUNCTION_NAMESPACES_HELP,
  integer,
  list,
  namespaceLabels,
  oneOf,
  optionalText,
  origin,
  port,
  type SettingsOf,
  text,
  toggle,
} from "../../net/settings.ts";

const flag = flagsOf("ROUTER");

const second = 1_000;

/** Settings of the router process. Environment variables: `ISOTOPE_ROUTER_` and the flag in upper case with underscores. */
export const ROUTER_SETTINGS = {
  host: text({ ...flag("host", "Address that the public listener binds"), fallback: "127.0.0.1" }),
  port: port({ ...flag("port", "Port of the public listener; 0 = a free one"), fallback: 8888 }),
  internalHost: text({
    ...flag("internal-host", "Address that the internal listener binds"),
    fallback: "127.0.0.1",
  }),
  internalPort: port({
    ...flag("internal-port", "Port of the internal listener (signed calls)"),
    fallback: 8889,
  }),
  metricsHost: text({
    ...flag("metrics-host", "Address for /metrics, /healthz, /readyz"),
    fallback: "127.0.0.1",
  }),
  metricsPort: port({
    ...flag("metrics-port", "Port for /metrics, /healthz, /readyz; 0 = a free one"),
    fallback: 0,
  }),
  reusePort: toggle({ ...flag("reuse-port", "Let several routers share the public port"), fallback: false }),
  kubeconfig: optionalText(
    flag("kubeconfig", "Kubeconfig file; default: $KUBECONFIG, service account, ~/.kube/config"),
  ),
  functionNamespaces: namespaceLabels(flag("function-namespaces", FUNCTION_NAMESPACES_HELP)),
  executorUrl: origin({
    ...flag("executor-url", "Address of the executor's API"),
    fallback: "http://127.0.0.1:8892",
  }),
  internalKeyFile: text(
    flag("internal-key-file", "File with the master key(s) of internal calls, one a line"),
  ),
  queueLength: integer({
    ...flag(
      "queue-length",
      "Requests that may wait per function revision, at least; twice its pods' slots if that is more",
    ),
    fallback: 1_000,
    min: 1,
    max: 100_000,
  }),
  queueWaitMs: durationMs({
    ...flag("queue-wait", "Longest wait for a free pod when all are busy; then 503"),
    fallback: 10 * second,
    minMs: 10,
    maxMs: 600 * second,
  }),
  coldStartWaitMs: durationMs({
    ...flag("cold-start-wait", "Longest wait for the first pod of a revision; then 503"),
    fallback: 60 * second,
    minMs: 10,
    maxMs: 600 * second,
  }),
  unreadyWaitMs: durationMs({
    ...flag(
      "unready-wait",
      "Longest wait for a function that exists to begin to serve; then 503. It covers the moment until this router hears of a deployment; 0ms = refuse at once",
    ),
    fallback: 2 * second,
    minMs: 0,
    maxMs: 60 * second,
  }),
  scaleUpDelayMs: durationMs({
    ...flag(
      "scale-up-delay",
      "How long a request waits for a busy pod before another pod is asked for, of a function that is slow or not known yet",
    ),
    fallback: 10,
    minMs: 0,
    maxMs: 60 * second,
  }),
  scaleUpAboveMs: durationMs({
    ...flag(
      "scale-up-above",
      "Time for a request, waiting included, that the pods there are shall do with; when they need longer, another pod is asked for",
    ),
    // About what a pod from the pool takes under load: for less it comes too late.
    fallback: 100,
    minMs: 0,
    maxMs: 60 * second,
  }),
  connectTimeoutMs: durationMs({
    ...flag("connect-timeout", "Longest time for a TCP connection to a pod"),
    fallback: 1 * second,
    minMs: 10,
    maxMs: 60 * second,
  }),
  tunnelIdleMs: durationMs({
    ...flag(
      "websocket-idle",
      "Longest silence on a WebSocket of a function without streaming settings; 0ms = no limit",
    ),
    fallback: 3_600 * second,
    minMs: 0,
    maxMs: 24 * 3_600 * second,
  }),
  internalBodyBytes: bytes({
    ...flag("internal-max-body", "Largest body on the internal listener"),
    fallback: 64 * 2 ** 20,
    min: 1,
    max: 2 ** 30,
  }),
  workflowsUrl: text({
    ...flag(
      "workflows-url",
      "Address of the workflow service: for routes that start runs, and for callbacks; empty = there is none",
    ),
    pattern: /^$|^http:\/\/[^/\s]+:\d{1,5}$/,
    allowed: "http://host:port, or empty",
    fallback: "http://127.0.0.1:8896",
  }),
  triggersUrl: text({
    ...flag(
      "triggers-url",
      "Address of the trigger service, which keeps asynchronous calls; empty = there is none",
    ),
    pattern: /^$|^http:\/\/[^/\s]+:\d{1,5}$/,
    allowed: "http://host:port, or empty",
    fallback: "http://127.0.0.1:8897",
  }),
  asyncBodyBytes: bytes({
    ...flag("async-max-body", "Largest body of an asynchronous call"),
    fallback: 50 * 2 ** 20,
    min: 1,
    max: 50 * 2 ** 20,
  }),
  workflowBodyBytes: bytes({
    ...flag("workflow-max-body", "Largest input of a run, and largest result of a callback"),
    fallback: 50 * 2 ** 20,
    min: 1,
    max: 2 ** 30,
  }),
  redisUrl: optionalText(
    flag(
      "redis-url",
      "Redis for the first answers of calls with an idempotency key; none = such calls are 503",
    ),
  ),
  firstAnswerBytes: bytes({
    ...flag("first-answer-max-body", "Largest answer that is kept for calls with the same idempotency key"),
    fallback: 256 * 2 ** 10,
    min: 0,
    max: 16 * 2 ** 20,
  }),
  firstAnswerTtlMs: durationMs({
    ...flag("first-answer-ttl", "Longest time that such an answer is kept"),
    fallback: 3_600 * second,
    minMs: second,
    maxMs: 7 * 24 * 3_600 * second,
  }),
  maxConnections: integer({
    ...flag("max-connections", "Client connections at once, per listener"),
    fallback: 20_000,
    min: 1,
    max: 1_000_000,
  }),
  maxConnectionsPerClient: integer({
    ...flag("max-connections-per-client", "Connections at once from one address; 0 = no limit"),
    fallback: 0,
    min: 0,
    max: 1_000_000,
  }),
  trustedProxies: list({
    ...flag("trusted-proxies", "Addresses or CIDR ranges whose X-Forwarded-* and Forwarded headers are kept"),
    fallback: [],
    item: /^[0-9a-fA-F.:]+(\/\d{1,3})?$/,
    allowed: "a comma-separated list of IP addresses or CIDR ranges",
  }),
  previewDomain: text({
    ...flag(
      "preview-domain",
      "Domain under which each version has an address of its own, VERSION.NAMESPACE.DOMAIN; empty = there are none",
    ),
    fallback: "",
    pattern: /^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$/,
    allowed: "a domain name in lower case",
  }),
  drainDelayMs: durationMs({
    ...flag(
      "drain-delay",
      "After SIGTERM: time in which new connections are still taken while /readyz says 503",
    ),
    fallback: 0,
    minMs: 0,
    maxMs: 300 * second,
  }),
  drainDeadlineMs: durationMs({
    ...flag("drain-deadline", "After that: longest time for requests in flight to finish"),
    fallback: 30 * second,
    minMs: 0,
    maxMs: 3_600 * second,
  }),
  debugErrors: toggle({
    ...flag("debug-errors", "Show the platform's own messages to callers that send X-Fission-Debug: true"),
    fallback: false,
  }),
  accessLog: oneOf({
    ...flag("access-log", "Which requests are logged: those that the platform failed, all, or none"),
    words: ["errors", "all", "none"],
    fallback: "errors",
  }),
  logLevel: oneOf({
    ...flag("log-level", "Lowest level logged"),
    words: ["debug", "info", "warn", "error"],
    fallback: "info",
  }),
} as const;

export type RouterSettings = SettingsOf<typeof ROUTER_SETTINGS>;
