import { FETCHER_IMAGE } from "../api/direct-image.ts";
import {
  bytes,
  durationMs,
  FUNCTION_NAMESPACES_HELP,
  flagsOf,
  integer,
  list,
  namespaceLabels,
  optionalText,
  origin,
  port,
  type SettingsOf,
  text,
  toggle,
} from "../net/settings.ts";

const flag = flagsOf("CONTROLLER");

/** Settings of the controller process. Environment variables: `ISOTOPE_CONTROLLER_` and the flag in upper case with underscores. */
export const CONTROLLER_SETTINGS = {
  host: text({ ...flag("host", "Address that the operations API binds"), fallback: "0.0.0.0" }),
  port: port({ ...flag("port", "Port of the operations API; 0 = a free one"), fallback: 8890 }),
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
  namespace: text({ ...flag("namespace", "Namespace of the leader's Lease"), fallback: "isotope" }),
  leaseMs: durationMs({
    ...flag(
      "lease",
      "A leader that could not renew its Lease for so long is replaced; it gives up by itself after two thirds",
    ),
    fallback: 30_000,
    minMs: 3_000,
    maxMs: 600_000,
  }),
  functionNamespaces: namespaceLabels(flag("function-namespaces", FUNCTION_NAMESPACES_HELP)),
  namespaceKit: optionalText(
    flag(
      "namespace-kit",
      "YAML file with the objects that every function namespace gets; none when left out",
    ),
  ),
  routerService: text({
    ...flag(
      "router-service",
      "Service of the router in the namespace of the Lease, as name:port, for Ingress objects and HTTPRoutes",
    ),
    pattern: /^$|^[a-z0-9-]+:\d{1,5}$/,
    allowed: "name:port, or empty for no such objects",
    fallback: "",
  }),
  ingressClass: text({
    ...flag("ingress-class", "Ingress class of triggers' Ingress objects; empty = the cluster's default"),
    fallback: "",
  }),
  deniedIngressAnnotations: list({
    ...flag(
      "denied-ingress-annotations",
      "Annotations that triggers may not set on Ingress objects and HTTPRoutes; * stands for any characters",
    ),
    fallback: ["*snippet*", "*lua*", "*auth-tls-secret*", "*-secret"],
  }),
  gatewayRoutes: toggle({
    ...flag("gateway-routes", "Make HTTPRoutes of the Gateway API for triggers that ask for them"),
    fallback: false,
  }),
  defaultGateway: text({
    ...flag("default-gateway", "Gateway of triggers that name none, as name or namespace/name"),
    pattern: /^([a-z0-9.-]+\/)?[a-z0-9.-]*$/,
    allowed: "name, namespace/name or empty",
    fallback: "",
  }),
  fetcherImage: text({
    ...flag("fetcher-image", "Image of the fetcher, which stands beside builders of foreign images"),
    fallback: FETCHER_IMAGE,
  }),
  internalKeyFile: text(
    flag("internal-key-file", "File with the master key(s) of internal calls, one a line"),
  ),
  storageUrl: origin({
    ...flag("storage-url", "Address of the storage process"),
    fallback: "http://storagesvc",
  }),
  routerInternalUrl: origin({
    ...flag("router-internal-url", "Address of the router's internal listener"),
    fallback: "http://router-internal:8889",
  }),
  routerPeers: text({
    ...flag(
      "router-peers",
      "Address of all routers, whose counters decide about releases: every address of the host is one; empty = router-internal-url",
    ),
    pattern: /^$|^http:\/\/[^/\s]+:\d{1,5}$/,
    allowed: "http://host:port, or empty",
    fallback: "",
  }),
  executorUrl: origin({
    ...flag("executor-url", "Address of the executor's API"),
    fallback: "http://executor:8892",
  }),
  logStoreUrl: origin({
    ...flag("log-store-url", "Address of the log store"),
    fallback: "http://log-store:8895",
  }),
  workflowsUrl: text({
    ...flag("workflows-url", "Address of the workflow service; empty = there is none"),
    pattern: /^$|^http:\/\/[^/\s]+:\d{1,5}$/,
    allowed: "http://host:port, or empty",
    fallback: "",
  }),
  triggersUrl: text({
    ...flag("triggers-url", "Address of the trigger service; empty = there is none"),
    pattern: /^$|^http:\/\/[^/\s]+:\d{1,5}$/,
    allowed: "http://host:port, or empty",
    fallback: "",
  }),
  maxArchiveBytes: bytes({
    ...flag("max-archive-bytes", "Largest archive"),
    fallback: 256 * 2 ** 20,
    min: 1024,
    max: 2 ** 32,
  }),
  buildsAtOnce: integer({
    ...flag("builds-at-once", "Builds that run at the same time"),
    fallback: 4,
    min: 1,
    max: 256,
  }),
  allowedArchiveHosts: list({
    ...flag(
      "allowed-archive-hosts",
      "Hosts that packages may fetch from although their addresses are private",
    ),
    fallback: [],
  }),
};
export type ControllerSettings = SettingsOf<typeof CONTROLLER_SETTINGS>;
