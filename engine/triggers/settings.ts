import {
  durationMs,
  FUNCTION_NAMESPACES_HELP,
  flagsOf,
  integer,
  namespaceLabels,
  optionalText,
  origin,
  port,
  type SettingsOf,
  text,
} from "../../net/settings.ts";

const flag = flagsOf("TRIGGERS");
const HOUR_MS = 3_600_000;

/** Settings of the trigger service. Environment variables: `ISOTOPE_TRIGGERS_` and the flag in upper case with underscores. */
export const TRIGGERS_SETTINGS = {
  host: text({ ...flag("host", "Address that the API binds"), fallback: "0.0.0.0" }),
  port: port({ ...flag("port", "Port of the API (signed calls); 0 = a free one"), fallback: 8897 }),
  metricsHost: text({
    ...flag("metrics-host", "Address for /metrics, /healthz, /readyz"),
    fallback: "0.0.0.0",
  }),
  metricsPort: port({
    ...flag("metrics-port", "Port for /metrics, /healthz, /readyz; 0 = a free one"),
    fallback: 8080,
  }),
  kubeconfig: optionalText(
    flag("kubeconfig", "Kubeconfig file; default: $KUBECONFIG, service account, ~/.kube/config"),
  ),
  functionNamespaces: namespaceLabels(flag("function-namespaces", FUNCTION_NAMESPACES_HELP)),
  internalKeyFile: text(
    flag("internal-key-file", "File with the master key(s) of internal calls, one a line"),
  ),
  redisUrl: optionalText({
    ...flag("redis-url", "Redis or Valkey, where events live; without it everything answers 503"),
    secret: true,
  }),
  routerInternalUrl: origin({
    ...flag("router-internal-url", "Address of the router's internal listener"),
    fallback: "http://router-internal:8889",
  }),
  workflowsUrl: text({
    ...flag(
      "workflows-url",
      "Address of the workflow service, for triggers that start runs; empty = there is none",
    ),
    pattern: /^$|^https?:\/\/[^/\s]+$/,
    allowed: "http://host:port, or empty",
    fallback: "",
  }),
  executorUrl: origin({
    ...flag("executor-url", "Address of the executor's API, which warms what timers are about to call"),
    fallback: "http://executor:8892",
  }),
  storageUrl: origin({
    ...flag("storage-url", "Address of the storage process, where bodies and results over 256 KiB are"),
    fallback: "http://storage:8894",
  }),
  deliveries: integer({
    ...flag("deliveries", "Asynchronous invocations that this process delivers at once"),
    fallback: 512,
    min: 1,
    max: 10_000,
  }),
  resultTtlMs: durationMs({
    ...flag("result-ttl", "How long an invocation that ended well or was cancelled can be asked about"),
    fallback: 24 * HOUR_MS,
    minMs: 1_000,
    maxMs: 90 * 24 * HOUR_MS,
  }),
  deadLetterTtlMs: durationMs({
    ...flag("dead-letter-ttl", "How long dead letters are kept"),
    fallback: 14 * 24 * HOUR_MS,
    minMs: 1_000,
    maxMs: 365 * 24 * HOUR_MS,
  }),
  drainMs: durationMs({
    ...flag("drain", "After SIGTERM: longest time for deliveries under way; then they are given back"),
    fallback: 20_000,
    minMs: 0,
    maxMs: HOUR_MS,
  }),
};
export type TriggersSettings = SettingsOf<typeof TRIGGERS_SETTINGS>;
