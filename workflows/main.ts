import { createKubeClient } from "../kube/client.ts";
import { scopedClient } from "../kube/namespace-scope.ts";
import { drainOnSignal } from "../net/drain.ts";
import { keyRingFromFile } from "../net/keys.ts";
import { processLog } from "../net/log.ts";
import { addProcessMetrics, metricsRegistry } from "../net/metrics.ts";
import { serveMetrics } from "../net/metrics-server.ts";
import { startWith } from "../net/settings.ts";
import { signedClient } from "../net/signed-client.ts";
import { storedArchives } from "./definitions/definition-archives.ts";
import { childHosts } from "./host/child-host.ts";
import { remoteHosts } from "./host/remote-host.ts";
import { WORKFLOWS_SETTINGS, type WorkflowsSettings } from "./settings.ts";
import { workflowService } from "./workflow-service.ts";

/** Beyond the steps in flight: closing connections, giving runs back. */
const DRAIN_MARGIN_MS = 10_000;

/** The workflow service as a process of its own: any number of them share the runs. */
async function start(settings: WorkflowsSettings): Promise<void> {
  const log = processLog("workflows");
  const keys = keyRingFromFile(settings.internalKeyFile);
  const client = scopedClient(
    await createKubeClient({ kubeconfig: settings.kubeconfig }),
    settings.functionNamespaces,
    (error, failures) =>
      log.warn("Cannot watch namespaces; what is known stays in force", { failures, error }),
  );
  const storage = signedClient({
    keys,
    origin: settings.storageUrl,
    audience: "storage",
    unavailable: "archive_unavailable",
  });
  const service = workflowService({
    client,
    keys,
    log,
    redisUrl: settings.redisUrl,
    routerInternalUrl: settings.routerInternalUrl,
    archives: storedArchives(storage, settings.maxArchiveBytes),
    hosts: settings.definitionHostSocket
      ? remoteHosts(settings.definitionHostSocket)
      : childHosts({ deno: settings.deno, denoDir: settings.denoFolder }),
    transitionMs: settings.transitionMs,
  });
  const registry = metricsRegistry();
  addProcessMetrics(registry);
  registry.gaugeOf({ name: "isotope_workflows_runs_held", help: "Runs that this worker has in hand" }, () =>
    service.held(),
  );
  const metrics = await serveMetrics({
    host: settings.metricsHost,
    port: settings.metricsPort,
    registry,
    notReady: () => service.notReady(),
  });
  const port = await service.start({ host: settings.host, port: settings.port });
  log.info("Workflow service listens", { port, metricsPort: metrics.port });
  drainOnSignal({
    log,
    deadlineMs: settings.drainMs + DRAIN_MARGIN_MS,
    steps: [
      { name: "runs", stop: () => service.stop(settings.drainMs) },
      { name: "storage client", stop: () => storage.close() },
      { name: "Kubernetes client", stop: () => client.close() },
      { name: "metrics", stop: () => metrics.close() },
    ],
  });
}

startWith(
  WORKFLOWS_SETTINGS,
  { argv: process.argv.slice(2), env: process.env, envPrefix: "ISOTOPE_WORKFLOWS_" },
  start,
);
