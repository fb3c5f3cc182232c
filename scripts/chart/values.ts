import { z } from "zod";
import { CONTROLLER_SETTINGS } from "../../controller/settings.ts";
import { EXECUTOR_SETTINGS } from "../../engine/executor/settings.ts";
import { ROUTER_SETTINGS } from "../../engine/router/settings.ts";
import { STORAGE_SETTINGS } from "../../engine/storage/settings.ts";
import { WORKFLOWS_SETTINGS } from "../../workflows/settings.ts";
import { CIDR, OWNED, persistence, pods, replicated, service, settings } from "./component-forms.ts";
import { triggers } from "./trigger-values.ts";
import { anyList, anyObject, count, image, resources, strings, text, toggle } from "./value-forms.ts";

/**
 * The values of the chart: one schema from which values.yaml (defaults and comments), values.schema.json and the table in
 * docs/reference/chart-values.md are generated.
 */
const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const LABEL = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?=[-A-Za-z0-9_.]*$/;

/** Networks that are not the internet: special-purpose addresses of the IANA registries, private ones among them. */
const NOT_INTERNET_V4 = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "224.0.0.0/4",
  "240.0.0.0/4",
];
const NOT_INTERNET_V6 = [
  "::/127",

  "64:ff9b::/96",
  "64:ff9b:1::/48",
  "100::/64",
  "fc00::/7",
  "fe80::/10",
  "ff00::/8",
];

const networkPolicy = z
  .strictObject({
    enabled: toggle("Make NetworkPolicies for the platform's pods and for function and builder pods").default(
      true,
    ),
    dnsCidrs: z
      .array(z.string().regex(CIDR))
      .describe("Addresses of DNS servers outside kube-system, e.g. a node-local cache 169.254.20.10/32")
      .default([]),
    apiServerCidrs: z
      .array(z.string().regex(CIDR))
      .describe(
        "Addresses of the Kubernetes API, if the platform's pods shall reach no others on its ports; empty = any address on ports 443 and 6443",
      )
      .default([]),
    kubernetesPorts: z
      .array(count(1, 65_535, "Port"))
      .describe("Ports of the Kubernetes API")
      .default([443, 6443]),
    metricsFrom: anyList(
      "NetworkPolicy peers that may read /metrics, e.g. the namespace of Prometheus",
    ).default([]),
    routerFrom: anyList(
      "NetworkPolicy peers that may call the router's public port; empty = everybody",
    ).default([]),
    functions: z
      .strictObject({
        internet: toggle("Let functions reach the internet").default(true),
        deniedCidrs: z
          .array(z.string().regex(CIDR))
          .describe("What does not count as the internet; the addresses of the Kubernetes API are added")
          .default([...NOT_INTERNET_V4, ...NOT_INTERNET_V6]),
        extraEgress: anyList(
          "Further egress rules of function pods, e.g. to a database in the cluster",
        ).default([]),
        extraIngress: anyList("Further ingress rules of function pods").default([]),
      })
      .describe("Policies of function pods: calls come from router and executor only")
      .prefault({}),
    builders: z
      .strictObject({
        internet: toggle("Let builds reach the internet, for package registries").default(true),
        extraEgress: anyList("Further egress rules of builder pods, e.g. to a registry mirror").default([]),
      })
      .describe("Policies of builder pods")
      .prefault({}),
    brokers: anyList(
      "Egress rules of the trigger service to the brokers that message queue triggers name; by default any address on the usual ports of Kafka, NATS, Azure (https) and Redis",
    ).default([{ ports: [9092, 9093, 9094, 4222, 443, 6379, 6380].map((port) => ({ port })) }]),
  })
  .describe("Walls between pods; they need a network plugin that enforces them")
  .prefault({});

const functionNamespaces = z
  .strictObject({
    labels: z
      .array(z.string().regex(LABEL))
      .min(1)
      .describe(
        "A namespace with one of these labels (key=value) may hold functions; added and removed without a restart. kubernetes.io/metadata.name=NAME names one",
      )
      .default(["isotope.dev/functions=enabled", "fission.io/enabled=true"]),
    environment: z
      .strictObject({
        create: toggle("Make the environment in every function namespace").default(true),
        name: z.string().regex(DNS_LABEL).describe("Its name").default("deno"),
        poolSize: count(0, 1_000, "Generic pods kept ready per namespace").default(3),
        builderEnv: anyList(
          "Variables of the builder container, e.g. npm_config_registry for a registry mirror",
        ).default([]),
        resources: resources({ cpu: "20m", memory: "64Mi" }, { memory: "256Mi" }),
        terminationGracePeriod: count(0, 3_600, "Seconds that running requests have when a pod ends").default(
          90,
        ),
      })
      .describe("The TypeScript environment that `isotope deploy` uses")
      .prefault({}),
  })
  .describe("Where functions live")
  .prefault({});

const redis = z
  .strictObject({
    enabled: toggle(
      "Run a Redis (or Valkey), or use the one of url; without any there are no workflows and no events",
    ).default(true),
    url: text(
      "Use this Redis instead, e.g. rediss://user:password@host:6379 or rediss+cluster://user:password@host:6379,host:6379; wins over the bundled one",
    ).default(""),
    existingSecret: text("Secret with the key `url`, instead of url").default(""),
    caSecret: text(
      "Secret with the key `ca.crt`: the authority that signed the certificate of such a Redis (rediss://), where it is none of those that everybody knows",
    ).default(""),
    ports: z
      .array(count(1, 65_535, "Port"))
      .describe(
        "Ports of such a Redis that network policies let through besides those that url names, e.g. of a cluster's other servers; with existingSecret and none here 6379 and 6380",
      )
      .default([]),
    image: z
      .strictObject({
        registry: text("Registry").default("docker.io"),
        repository: text("Image with redis-server or valkey-server in its path").default("valkey/valkey"),
        tag: text("Tag").default("8.1-alpine"),
        digest: text("Digest sha256:…, instead of the tag").default(""),
      })
      .describe("Image of the bundled server")
      .prefault({}),
    command: z.array(z.string()).describe("Command of the server").default(["valkey-server"]),
    functions: z
      .strictObject({
        enabled: toggle(
          "Give functions an account on the bundled Redis, limited to keys under app:, by a Secret `redis` in each function namespace",
        ).default(false),
      })
      .describe("Redis for functions")
      .prefault({}),
    persistence: persistence("8Gi"),
    resources: resources({ cpu: "50m", memory: "64Mi" }, { memory: "512Mi" }),
    ...pods,
  })
  .describe("Redis: workflows and events need it")
  .prefault({});

const storage = z
  .strictObject({
    replicas: count(1, 20, "Number of pods; more than one only with s3").default(1),
    persistence: persistence("10Gi"),
    s3: z
      .strictObject({
        enabled: toggle("Keep archives in an S3-compatible store instead of a volume").default(false),
        endpoint: text("Address, e.g. https://s3.eu-central-1.amazonaws.com").default(""),
        region: text("Region").default("us-east-1"),
        bucket: text("Bucket; it must exist").default(""),
        prefix: text("Prefix of the objects' keys").default(""),
        pathStyle: toggle("Name the bucket in the path instead of the host").default(true),
        existingSecret: text("Secret with the keys accessKeyId and secretAccessKey").default(""),
      })
      .describe("S3-compatible store")
      .prefault({}),
    resources: resources({ cpu: "20m", memory: "96Mi" }, { memory: "512Mi" }),
    terminationGracePeriodSeconds: count(1, 3_600, "Time for a clean end").default(45),
    settings: settings(STORAGE_SETTINGS, [
      ...OWNED,
      "backend",
      "folder",
      "spool-folder",
      "s3-bucket",
      "s3-region",
      "s3-endpoint",
      "s3-path-style",
      "s3-prefix",
      "s3-access-key-file",
      "s3-secret-key-file",
    ]),
    ...pods,
  })
  .describe("Keeps the archives of packages")
  .prefault({});

const router = z
  .strictObject({
    ...replicated(2),
    service: service("The public Service", 80),
    previewDomain: z
      .string()
      .default("")
      .describe(
        "Domain under which each version of a function has an address, <version>.<namespace>.<domain>; empty = none. Its DNS and Ingress are yours",
      ),
    drainSeconds: count(
      0,
      300,
      "After SIGTERM: time in which connections still come, until all know that the pod goes",
    ).default(5),
    requestSeconds: count(0, 3_600, "After that: longest time for requests in flight").default(60),
    resources: resources({ cpu: "100m", memory: "128Mi" }, { memory: "512Mi" }),
    settings: settings(ROUTER_SETTINGS, [
      ...OWNED,
      "internal-host",
      "internal-port",
      "executor-url",
      "workflows-url",
      "triggers-url",
      "redis-url",
      "preview-domain",
      "drain-delay",
      "drain-deadline",
      "reuse-port",
      "function-namespaces",
    ]),
    ...pods,
  })
  .describe("Takes requests and relays them to function pods")
  .prefault({});

const executor = z
  .strictObject({
    ...replicated(2),
    resources: resources({ cpu: "100m", memory: "128Mi" }, { memory: "768Mi" }),
    terminationGracePeriodSeconds: count(1, 3_600, "Time for a clean end").default(30),
    settings: settings(EXECUTOR_SETTINGS, [
      ...OWNED,
      "storage-url",
      "advertise",
      "function-namespaces",
      "fetcher-image",
    ]),
    ...pods,
  })
  .describe("Keeps pools of pods and specialises them; replicas share the environments")
  .prefault({});

const workflows = z
  .strictObject({
    enabled: toggle("Run workflows, where there is a Redis").default(true),
    ...replicated(2),
    drainSeconds: count(
      0,
      3_600,
      "After SIGTERM: longest time for steps in flight; then other workers take them",
    ).default(20),
    resources: resources({ cpu: "100m", memory: "192Mi" }, { memory: "1Gi" }),
    settings: settings(WORKFLOWS_SETTINGS, [
      ...OWNED,
      "function-namespaces",
      "router-internal-url",
      "storage-url",
      "redis-url",
      "definition-host-socket",
      "deno",
      "deno-folder",
      "drain",
    ]),
    definitionHost: z
      .strictObject({
        resources: resources({ cpu: "50m", memory: "96Mi" }, { cpu: "1", memory: "1Gi" }),
      })
      .describe("Second container of the pods, in which definitions' code runs without credentials")
      .prefault({}),
    ...pods,
  })
  .describe("Drives the runs of workflows; replicas share them. Needs redis")
  .prefault({});

const controller = z
  .strictObject({
    ...replicated(2),
    resources: resources({ cpu: "100m", memory: "128Mi" }, { memory: "768Mi" }),
    terminationGracePeriodSeconds: count(1, 3_600, "Time for a clean end").default(45),
    service: service("The operations API, for the CLI", 8890),
    settings: settings(CONTROLLER_SETTINGS, [
      ...OWNED,
      "storage-url",
      "router-internal-url",
      "router-peers",
      "executor-url",
      "function-namespaces",
      "namespace-kit",
      "router-service",
      "fetcher-image",
      "ingress-class",
      "denied-ingress-annotations",
      "gateway-routes",
      "default-gateway",
      "log-store-url",
      "workflows-url",
      "triggers-url",
      "log-folder",
      "pod-logs",
      "max-log-bytes",
    ]),
    ...pods,
  })
  .describe("Reconciles objects, builds packages, serves the operations API; one replica leads")
  .prefault({});

const logs = z
  .strictObject({
    enabled: toggle("Collect the logs of functions for `isotope fn logs`").default(true),
    collectorNamespace: text(
      "Namespace of the collector, which reads /var/log/pods of each node and so fits no restricted namespace; empty = one is made, named after the release's with -logs",
    ).default(""),
    persistence: persistence("10Gi"),
    resources: resources({ cpu: "20m", memory: "96Mi" }, { memory: "384Mi" }),
    collectorResources: resources({ cpu: "20m", memory: "64Mi" }, { memory: "256Mi" }),
    collectorTolerations: anyList("Tolerations of the collector; by default it runs on every node").default([
      { operator: "Exists" },
    ]),
    ...pods,
  })
  .describe("Logs of functions")
  .prefault({});

const signingKey = z
  .strictObject({
    existingSecret: text(
      "Secret with the master keys under the key `keys`, one a line; empty = one is made once",
    ).default(""),
    rotation: count(
      0,
      1_000_000,
      "Step of the rotation, raised by one at a time; see docs/install-kubernetes.md",
    ).default(0),
  })
  .describe("Key that signs the calls between the platform's processes")
  .prefault({});

export const ChartValues = z.strictObject({
  nameOverride: text("Name of the chart in the names of objects").default(""),
  fullnameOverride: text("Whole stem of the names of objects").default(""),
  clusterDomain: text("DNS domain of the cluster").default("cluster.local"),
  image: z
    .strictObject({
      registry: text("Registry of all of the platform's images").default(""),
      repository: text("Image of the platform's processes").default("isotope/isotope"),
      tag: text("Tag of all of the platform's images; empty = the chart's appVersion").default(""),
      digest: text("Digest sha256:… of this image, instead of the tag").default(""),
      pullPolicy: z
        .enum(["Always", "IfNotPresent", "Never"])
        .describe("When images are pulled")
        .default("IfNotPresent"),
    })
    .describe("The platform's image")
    .prefault({}),
  environmentImage: image("isotope/deno-env", "Image of the TypeScript environment"),
  builderImage: image("isotope/builder", "Image of its builder"),
  fetcherImage: image("isotope/fetcher", "Sidecar beside environments of other languages"),
  imagePullSecrets: z
    .array(z.strictObject({ name: z.string() }))
    .describe("Secrets for pulling the platform's images")
    .default([]),
  commonLabels: strings("Labels of all objects").default({}),
  crds: z
    .strictObject({
      install: toggle("Install and upgrade the CustomResourceDefinitions with the chart").default(true),
      keep: toggle("Leave them, and with them all functions, when the chart is uninstalled").default(true),
    })
    .describe("Custom resource definitions")
    .prefault({}),
  signingKey,
  functionNamespaces,
  networkPolicy,
  router,
  executor,
  controller,
  storage,
  logs,
  workflows,
  triggers,
  redis,
  gatewayApi: z
    .strictObject({
      enabled: toggle(
        "Make HTTPRoutes for triggers with routeConfig.provider gateway; needs the Gateway API's CRDs",
      ).default(false),
      defaultParent: z
        .string()
        .regex(/^([a-z0-9.-]+\/)?[a-z0-9.-]*$/)
        .describe("Gateway of triggers that name none: name or namespace/name")
        .default(""),
    })
    .describe("Gateway API")
    .prefault({}),
  ingress: z
    .strictObject({
      className: text(
        "Ingress class of the Ingress objects that triggers ask for; empty = the cluster's default",
      ).default(""),
      deniedAnnotations: z
        .array(z.string())
        .describe(
          "Annotations that triggers may not set; * stands for any characters. Snippets are code in the proxy",
        )
        .default(["*snippet*", "*lua*", "*auth-tls-secret*", "*-secret"]),
    })
    .describe("Ingress objects of triggers")
    .prefault({}),
  cleanup: z
    .strictObject({
      enabled: toggle(
        "Remove pods and other objects from function namespaces when the chart is uninstalled",
      ).default(true),
      timeoutSeconds: count(10, 3_600, "Longest time for that").default(120),
    })
    .describe("What happens at uninstall")
    .prefault({}),
  global: anyObject("Values of a parent chart; not used").default({}),
});
export type ChartValues = z.infer<typeof ChartValues>;
