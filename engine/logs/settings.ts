import {
  bytes,
  flagsOf,
  FUNCTION_NAMESPACES_HELP,
  namespaceLabels,
  optionalText,
  origin,
  port,
  type SettingsOf,
  text,
} from "../../net/settings.ts";

const storeFlag = flagsOf("LOG_STORE");
const collectorFlag = flagsOf("LOG_COLLECTOR");

/** Settings of the log store. Environment variables: `ISOTOPE_LOG_STORE_` and the flag in upper case with underscores. */
export const LOG_STORE_SETTINGS = {
  host: text({ ...storeFlag("host", "Address that the log store's API binds"), fallback: "0.0.0.0" }),
  port: port({
    ...storeFlag("port", "Port of the log store's API (signed calls); 0 = a free one"),
    fallback: 8895,
  }),
  metricsHost: text({
    ...storeFlag("metrics-host", "Address for /metrics, /healthz, /readyz"),
    fallback: "0.0.0.0",
  }),
  metricsPort: port({
    ...storeFlag("metrics-port", "Port for /metrics, /healthz, /readyz; 0 = a free one"),
    fallback: 8080,
  }),
  kubeconfig: optionalText(
    storeFlag("kubeconfig", "Kubeconfig file; default: $KUBECONFIG, service account, ~/.kube/config"),
  ),
  functionNamespaces: namespaceLabels(storeFlag("function-namespaces", FUNCTION_NAMESPACES_HELP)),
  internalKeyFile: text(
    storeFlag("internal-key-file", "File with the master key(s) of internal calls, one a line"),
  ),
  collectorKeyFile: optionalText(
    storeFlag(
      "collector-key-file",
      "File with the key(s) that collectors sign with; default: those of internal calls",
    ),
  ),
  folder: text({ ...storeFlag("folder", "Folder of the lines"), fallback: "/var/lib/isotope/logs" }),
  maxBytes: bytes({
    ...storeFlag("max-bytes", "Size of all lines; the oldest go first"),
    fallback: 2 ** 30,
    min: 2 ** 20,
    max: 2 ** 44,
  }),
};
export type LogStoreSettings = SettingsOf<typeof LOG_STORE_SETTINGS>;

/** Settings of a log collector. Environment variables: `ISOTOPE_LOG_COLLECTOR_` and the flag in upper case with underscores. */
export const LOG_COLLECTOR_SETTINGS = {
  metricsHost: text({
    ...collectorFlag("metrics-host", "Address for /metrics, /healthz, /readyz"),
    fallback: "0.0.0.0",
  }),
  metricsPort: port({
    ...collectorFlag("metrics-port", "Port for /metrics, /healthz, /readyz; 0 = a free one"),
    fallback: 8080,
  }),
  node: text({
    ...collectorFlag("node", "Name of the node whose containers are read"),
    pattern: /^[a-z0-9.-]{1,253}$/,
    allowed: "a node's name",
  }),
  podLogs: text({
    ...collectorFlag("pod-logs", "Folder with the containers' logs"),
    fallback: "/var/log/pods",
  }),
  storeUrl: origin({
    ...collectorFlag("store-url", "Address of the log store"),
    fallback: "http://log-store:8895",
  }),
  internalKeyFile: text(
    collectorFlag("internal-key-file", "File with the key(s) that the log store takes from collectors"),
  ),
};
export type LogCollectorSettings = SettingsOf<typeof LOG_COLLECTOR_SETTINGS>;
