import {
  bytes,
  durationMs,
  flagsOf,
  oneOf,
  optionalText,
  port,
  type SettingsOf,
  text,
  toggle,
} from "../../net/settings.ts";
import { DEFAULT_MAX_ARCHIVE_BYTES } from "./archive-store.ts";
import { DEFAULT_PAYLOAD_BYTES } from "./payload-store.ts";
import { PRUNE_DEFAULTS } from "./prune-archives.ts";

const flag = flagsOf("STORAGE");

const hour = 3_600_000;

/** Settings of the storage process. Environment variables: `ISOTOPE_STORAGE_` and the flag in upper case with underscores. */
export const STORAGE_SETTINGS = {
  host: text({ ...flag("host", "Address that the API binds"), fallback: "0.0.0.0" }),
  port: port({ ...flag("port", "Port of the API (signed calls); 0 = a free one"), fallback: 8894 }),
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
  namespace: text({
    ...flag("namespace", "Namespace of the Lease of the process that prunes"),
    fallback: "isotope",
  }),
  internalKeyFile: text(
    flag("internal-key-file", "File with the master key(s) of internal calls, one a line"),
  ),
  backend: oneOf({
    ...flag("backend", "Where contents are: a folder of this pod, or an S3-compatible bucket"),
    words: ["local", "s3"],
    fallback: "local",
  }),
  folder: text({
    ...flag("folder", "Folder of archives and payloads (backend local)"),
    fallback: "/var/lib/isotope/storage",
  }),
  spoolFolder: text({
    ...flag("spool-folder", "Folder where uploads wait until they are whole (backend s3)"),
    fallback: "/tmp/isotope-spool",
  }),
  s3Bucket: text({ ...flag("s3-bucket", "Bucket"), fallback: "" }),
  s3Region: text({ ...flag("s3-region", "Region of the bucket"), fallback: "us-east-1" }),
  s3Endpoint: optionalText(flag("s3-endpoint", "Origin of an S3-compatible server; default: AWS")),
  s3PathStyle: toggle({
    ...flag("s3-path-style", "The bucket's name goes into the path, as most compatible servers want it"),
    fallback: false,
  }),
  s3Prefix: text({
    ...flag("s3-prefix", "What all keys in the bucket begin with"),
    pattern: /^$|^[\w.-]+(?:\/[\w.-]+)*\/$/,
    allowed: "empty, or a path that ends with a slash",
    fallback: "",
  }),
  s3AccessKeyFile: text({
    ...flag(
      "s3-access-key-file",
      "File with the access key's id; default: the pod's role or AWS's variables",
    ),
    fallback: "",
  }),
  s3SecretKeyFile: text({ ...flag("s3-secret-key-file", "File with the secret access key"), fallback: "" }),
  maxArchiveBytes: bytes({
    ...flag("max-archive-bytes", "Largest archive"),
    fallback: DEFAULT_MAX_ARCHIVE_BYTES,
    min: 1024,
    max: 2 ** 32,
  }),
  payloadBytes: bytes({
    ...flag(
      "payload-bytes",
      "Bytes of bodies and results over 256 KiB of asynchronous calls, all together; one namespace has half of them at most",
    ),
    fallback: DEFAULT_PAYLOAD_BYTES,
    min: 100 * 2 ** 20,
    max: 2 ** 50,
  }),
  pruneIntervalMs: durationMs({
    ...flag("prune-interval", "Pause between two looks for archives that nothing names"),
    fallback: PRUNE_DEFAULTS.intervalMs,
    minMs: 1_000,
    maxMs: 24 * hour,
  }),
  pruneGraceMs: durationMs({
    ...flag("prune-grace", "How long an archive that nothing names stays"),
    fallback: PRUNE_DEFAULTS.graceMs,
    minMs: 0,
    maxMs: 720 * hour,
  }),
};
export type StorageSettings = SettingsOf<typeof STORAGE_SETTINGS>;
