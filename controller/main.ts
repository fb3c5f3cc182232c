import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { LOG_STORE_AUDIENCE } from "../api/wire/logs.ts";
import { builderPods } from "../engine/builder/builder-pods.ts";
import { kubeBuilderCluster } from "../engine/builder/kube-builder-cluster.ts";
import { type PackageBuilder, packageBuilder } from "../engine/builder/package-builder.ts";
import { createKubeClient, type KubeClient } from "../kube/client.ts";
import { electLeader } from "../kube/lease.ts";
import { scopedClient } from "../kube/namespace-scope.ts";
import { drainOnSignal } from "../net/drain.ts";
import { type KeyRing, keyRingFromFile } from "../net/keys.ts";
import { type Log, processLog } from "../net/log.ts";
import { metricsRegistry } from "../net/metrics.ts";
import { serveMetrics } from "../net/metrics-server.ts";
import { startWith } from "../net/settings.ts";
import { type SignedClient, signedClient } from "../net/signed-client.ts";
import { type ControlPlane, type ControlPlaneOptions, createControlPlane } from "./control-plane.ts";
import type { ControllerOptions } from "./controller.ts";
import { controllerMetrics } from "./controller-metrics.ts";
import { readKit } from "./function-namespace/kit.ts";
import { logStoreReader } from "./log-store-client.ts";
import { CONTROLLER_SETTINGS, type ControllerSettings } from "./settings.ts";
import { archiveProxy, storageArchives, storageUse } from "./storage-client.ts";

const BUILD_TIMEOUT_MS = 600_000;
const BUILDER_READY_MS = 300_000;
const IDLE_BUILDER_MS = 1_800_000;
const DRAIN_DEADLINE_MS = 20_000;

/** The controller as a process of its own: every replica serves the operations API, the one that holds the Lease reconciles. */
async function start(settings: ControllerSettings): Promise<void> {
  const log = processLog("controller");
  const keys = keyRingFromFile(settings.internalKeyFile);
  const client = scopedClient(
    await createKubeClient({ kubeconfig: settings.kubeconfig }),
    settings.functionNamespaces,
    (error, failures) =>
      log.warn("Cannot watch namespaces; what is known stays in force", { failures, error }),
  );
  const storage = storageClient(keys, settings);
  const builder = builderOf(client, keys, log, settings);
  const logStore = signedClient({
    keys,
    origin: settings.logStoreUrl,
    audience: LOG_STORE_AUDIENCE,
    unavailable: "log_store_unavailable",
  });
  const plane: ControlPlane = createControlPlane({
    client,
    keys,
    log,
    version: packageVersion(),
    controller: {
      archives: storageArchives(storage),
      builder,
      allowedArchiveHosts: settings.allowedArchiveHosts,
      maxArchiveBytes: settings.maxArchiveBytes,
      maxConcurrentBuilds: settings.buildsAtOnce,
      ...(settings.namespaceKit === undefined ? {} : { namespaceKit: readKit(settings.namespaceKit) }),
      ...exposureFrom(settings),
    },
    routerInternalUrl: settings.routerInternalUrl,
    routerPeers: settings.routerPeers || settings.routerInternalUrl,
    executorUrl: settings.executorUrl,
    ...optionalUrls(settings),
    logs: logStoreReader(logStore),
    archiveRoutes: (scope) => archiveProxy(scope, storage, settings.maxArchiveBytes),
    archiveUse: () => storageUse(storage),
    components: componentsOf(settings),
    namespaceLabels: settings.functionNamespaces,
    listen: { host: settings.host, port: settings.port },
  });
  const registry = metricsRegistry();
  controllerMetrics(registry, plane.controller);
  const metrics = await serveMetrics({
    host: settings.metricsHost,
    port: settings.metricsPort,
    registry,
    notReady: () => plane.notReady(),
  });
  const port = await plane.start();
  log.info("Controller serves", { port, metricsPort: metrics.port, kubernetes: client.server });
  let stopping = false;
  const leader = electLeader({
    client,
    namespace: settings.namespace,
    name: "isotope-controller",
    durationMs: settings.leaseMs,
    identity: `${hostname()}-${randomUUID().slice(0, 8)}`,
    onError: (error) => log.warn("Cannot renew the Lease", { error }),
    onLeading: (lost) => {
      // Work that is under way cannot be handed over; a fresh process waits for its turn instead.
      lost.addEventListener("abort", () => {
        if (stopping) return;
        log.error("The Lease was lost: the process ends");
        process.exit(1);
      });
      log.info("Controller leads");
      plane.lead();
    },
  });
  drainOnSignal({
    log,
    deadlineMs: DRAIN_DEADLINE_MS,
    steps: [
      {
        name: "leadership",
        stop: () => {
          stopping = true;
        },
      },
      { name: "control plane", stop: () => plane.stop() },
      { name: "lease", stop: () => leader.stop() },
      { name: "log store client", stop: () => logStore.close() },
      { name: "builder", stop: () => builder.close() },
      { name: "storage client", stop: () => storage.close() },
      { name: "Kubernetes client", stop: () => client.close() },
      { name: "metrics", stop: () => metrics.close() },
    ],
  });
}

const optionalUrls = ({ workflowsUrl, triggersUrl }: ControllerSettings) => ({
  ...(workflowsUrl === "" ? {} : { workflowsUrl }),
  ...(triggersUrl === "" ? {} : { triggersUrl }),
});

const storageClient = (keys: KeyRing, { storageUrl }: ControllerSettings): SignedClient =>
  signedClient({ keys, origin: storageUrl, audience: "storage", unavailable: "archive_unavailable" });

function componentsOf(settings: ControllerSettings): ControlPlaneOptions["components"] {
  return [
    { name: "router", healthUrl: `${settings.routerInternalUrl}/healthz` },
    { name: "executor", healthUrl: `${settings.executorUrl}/healthz` },
    { name: "storage", healthUrl: `${settings.storageUrl}/healthz` },
    { name: "log-store", healthUrl: `${settings.logStoreUrl}/healthz` },
    ...(settings.workflowsUrl === ""
      ? []
      : [{ name: "workflows", healthUrl: `${settings.workflowsUrl}/healthz` }]),
    ...(settings.triggersUrl === ""
      ? []
      : [{ name: "triggers", healthUrl: `${settings.triggersUrl}/healthz` }]),
  ];
}

function exposureFrom(settings: ControllerSettings): Pick<ControllerOptions, "exposure"> {
  const [name = "", port] = settings.routerService.split(":");
  if (name === "") return {};
  return {
    exposure: {
      namespace: settings.namespace,
      service: { name, port: Number(port) },
      ingressClass: settings.ingressClass,
      deniedAnnotations: settings.deniedIngressAnnotations,
      ...(settings.gatewayRoutes ? { gateway: { defaultParent: settings.defaultGateway } } : {}),
    },
  };
}

function builderOf(
  client: KubeClient,
  keys: KeyRing,
  log: Log,
  settings: ControllerSettings,
): PackageBuilder {
  return packageBuilder({
    pods: builderPods({
      cluster: kubeBuilderCluster(client),
      masters: () => keys.masters(),
      log,
      fetcherImage: settings.fetcherImage,
      readyTimeoutMs: BUILDER_READY_MS,
    }),
    log,
    concurrency: settings.buildsAtOnce,
    buildTimeoutMs: BUILD_TIMEOUT_MS,
    idlePodMs: IDLE_BUILDER_MS,
    maxArtifactBytes: settings.maxArchiveBytes,
  });
}

function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  return typeof manifest === "object" && manifest !== null && "version" in manifest
    ? String(manifest.version)
    : "";
}

startWith(
  CONTROLLER_SETTINGS,
  { argv: process.argv.slice(2), env: process.env, envPrefix: "ISOTOPE_CONTROLLER_" },
  start,
);
