import {
  bytes,
  durationMs,
  FUNCTION_NAMESPACES_HELP,
  flagsOf,
  namespaceLabels,
  optionalText,
  origin,
  port,
  type SettingsOf,
  text,
} from "../net/settings.ts";

const flag = flagsOf("WORKFLOWS");

/** Settings of the workflow service. Environment variables: `ISOTOPE_WORKFLOWS_` and the flag in upper case with underscores. */
export const WORKFLOWS_SETTINGS = {
  host: text({ ...flag("host", "Address that the API binds"), fallback: "0.0.0.0" }),
  port: port({ ...flag("port", "Port of the API (signed calls); 0 = a free one"), fallback: 8896 }),
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
    ...flag(
      "redis-url",
      "Redis or Valkey, where runs live, or a cluster of them (redis+cluster://host:port,host:port); without it everything answers 503",
    ),
    secret: true,
  }),
  routerInternalUrl: origin({
    ...flag("router-internal-url", "Address of the router's internal listener"),
    fallback: "http://router-internal:8889",
  }),
  storageUrl: origin({
    ...flag("storage-url", "Address of the storage process"),
    fallback: "http://storage:8894",
  }),
  maxArchiveBytes: bytes({
    ...flag("max-archive-bytes", "Largest archive of a definition"),
    fallback: 64 * 2 ** 20,
    min: 1024,
    max: 2 ** 32,
  }),
  definitionHostSocket: optionalText(
    flag(
      "definition-host-socket",
      "Unix socket of the launcher of definition hosts (component definition-host); without it they are children of this process",
    ),
  ),
  deno: text({
    ...flag("deno", "The deno program, which runs definitions' code where no launcher does"),
    fallback: "/usr/local/bin/deno",
  }),
  denoFolder: text({ ...flag("deno-folder", "Folder for deno's own files"), fallback: "/tmp/deno" }),
  transitionMs: durationMs({
    ...flag("transition-deadline", "Longest time that a definition's code may take for one transition"),
    fallback: 200,
    minMs: 10,
    maxMs: 60_000,
  }),
  drainMs: durationMs({
    ...flag("drain", "After SIGTERM: longest time for steps in flight; then they are given to other workers"),
    fallback: 20_000,
    minMs: 0,
    maxMs: 3_600_000,
  }),
};
export type WorkflowsSettings = SettingsOf<typeof WORKFLOWS_SETTINGS>;
