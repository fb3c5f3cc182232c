import { FETCHER_IMAGE } from "../../api/direct-image.ts";
import {
  bytes,
  durationMs,
  flagsOf,
  FUNCTION_NAMESPACES_HELP,
  integer,
  namespaceLabels,
  optionalText,
  origin,
  port,
  type SettingsOf,
  text,
  toggle,
} from "../../net/settings.ts";

const flag = flagsOf("EXECUTOR");

const second = 1_000;

/** Settings of the executor. Environment variables: `ISOTOPE_EXECUTOR_` and the flag in upper case with underscores. */
export const EXECUTOR_SETTINGS = {
  host: text({ ...flag("host", "Address that the API for routers binds"), fallback: "127.0.0.1" }),
  port: port({ ...flag("port", "Port of the API for routers; 0 = a free one"), fallback: 8892 }),
  kubeconfig: optionalText(
    flag("kubeconfig", "Kubeconfig file; default: $KUBECONFIG, service account, ~/.kube/config"),
  ),
  functionNamespaces: namespaceLabels(flag("function-namespaces", FUNCTION_NAMESPACES_HELP)),
  internalKeyFile: text(
    flag("internal-key-file", "File with the master key(s) of internal calls, one a line"),
  ),
  storageUrl: origin({
    ...flag("storage-url", "Address of the storage API"),
    fallback: "http://127.0.0.1:8890",
  }),
  namespace: text({ ...flag("namespace", "Namespace of the executor's own Lease"), fallback: "default" }),
  advertise: text({
    ...flag(
      "advertise",
      "ip:port at which other executors reach this one; empty = it shares with none and minds all environments",
    ),
    pattern: /^$|^[^:\s]+:\d{1,5}$/,
    allowed: "ip:port or empty",
    fallback: "",
  }),
  leaseMs: durationMs({
    ...flag("lease", "An executor whose Lease was not renewed for so long counts as dead"),
    fallback: 15 * second,
    minMs: second,
    maxMs: 600 * second,
  }),
  handoverMs: durationMs({
    ...flag("handover", "Time that another executor has to let go of an environment"),
    fallback: 3 * second,
    minMs: 0,
    maxMs: 60 * second,
  }),
  parallelStarts: integer({
    ...flag("parallel-starts", "Pods of one environment that may start at the same time"),
    fallback: 8,
    min: 1,
    max: 1_000,
  }),
  maxPodsPerEnvironment: integer({
    ...flag(
      "max-pods-per-environment",
      "Pods of one environment, generic and specialised together; 0 = no limit",
    ),
    fallback: 0,
    min: 0,
    max: 1_000_000,
  }),
  poolGrowth: integer({
    ...flag(
      "pool-growth",
      "Pods that a pool may grow above its poolsize when calls arrive faster than pods start",
    ),
    fallback: 8,
    min: 0,
    max: 10_000,
  }),
  startTimeoutMs: durationMs({
    ...flag("start-timeout", "A pod that is not ready after this long is given up"),
    fallback: 120 * second,
    minMs: second,
    maxMs: 3_600 * second,
  }),
  specializeAttempts: integer({
    ...flag("specialize-attempts", "Pods that one specialisation may use up before it fails"),
    fallback: 3,
    min: 1,
    max: 20,
  }),
  archiveCacheBytes: bytes({
    ...flag("archive-cache", "Memory for archives"),
    fallback: 128 * 2 ** 20,
    min: 0,
    max: 2 ** 40,
  }),
  pollIntervalMs: durationMs({
    ...flag("poll-interval", "Pause between two looks at a specialised pod"),
    fallback: 5 * second,
    minMs: 100,
    maxMs: 600 * second,
  }),
  silenceGraceMs: durationMs({
    ...flag(
      "silence-grace",
      "How long a pod may be silent beyond its function's timeout before it is killed",
    ),
    fallback: 5 * second,
    minMs: 0,
    maxMs: 600 * second,
  }),
  supersedeDelayMs: durationMs({
    ...flag("supersede-delay", "How long pods of an old revision stay published, so that routers can switch"),
    fallback: second,
    minMs: 0,
    maxMs: 600 * second,
  }),
  prewarmPods: integer({
    ...flag(
      "prewarm-pods",
      "Pods of a new revision that start ahead of its first call when the old one is warm, at most",
    ),
    fallback: 10,
    min: 0,
    max: 10_000,
  }),
  scaleDownDelayMs: durationMs({
    ...flag("scale-down-delay", "How long a lower load must last before pods of a function go"),
    fallback: 60 * second,
    minMs: 0,
    maxMs: 3_600 * second,
  }),
  targetUtilization: integer({
    ...flag(
      "target-utilization",
      "Share of requestsPerPod in percent that pods are filled to before a further one starts ahead of need",
    ),
    fallback: 80,
    min: 1,
    max: 100,
  }),
  fetcherImage: text({
    ...flag("fetcher-image", "Image of the fetcher, which stands beside runtimes of foreign images"),
    fallback: FETCHER_IMAGE,
  }),
  debug: toggle({ ...flag("debug", "Error replies of functions carry message and stack"), fallback: false }),
};

type AllSettings = SettingsOf<typeof EXECUTOR_SETTINGS>;

/** What the executor itself needs; the rest of the settings are the process's. */
export type ExecutorSettings = Pick<
  AllSettings,
  | "parallelStarts"
  | "maxPodsPerEnvironment"
  | "poolGrowth"
  | "startTimeoutMs"
  | "specializeAttempts"
  | "archiveCacheBytes"
  | "pollIntervalMs"
  | "silenceGraceMs"
  | "supersedeDelayMs"
  | "prewarmPods"
  | "fetcherImage"
  | "scaleDownDelayMs"
  | "targetUtilization"
  | "debug"
>;
