import { PAYLOADS_AUDIENCE } from "../../api/wire/payloads.ts";
import { createKubeClient } from "../../kube/client.ts";
import { scopedClient } from "../../kube/namespace-scope.ts";
import { drainOnSignal } from "../../net/drain.ts";
import { keyRingFromFile } from "../../net/keys.ts";
import { processLog } from "../../net/log.ts";
import { addProcessMetrics, metricsRegistry } from "../../net/metrics.ts";
import { serveMetrics } from "../../net/metrics-server.ts";
import { payloads, storageKeeper } from "../../net/payloads.ts";
import { startWith } from "../../net/settings.ts";
import { signedClient } from "../../net/signed-client.ts";
import { TRIGGERS_SETTINGS, type TriggersSettings } from "./settings.ts";
import { triggerService } from "./trigger-service.ts";

/** Beyond the deliveries under way: closing connections, giving work back. */
const DRAIN_MARGIN_MS = 10_000;

/** The trigger service as a process of its own: any number of them share the events. */
async function start(settings: TriggersSettings): Promise<void> {
  const log = processLog("triggers");
  const keys = keyRingFromFile(settings.internalKeyFile);
  const client = scopedClient(
    await createKubeClient({ kubeconfig: settings.kubeconfig }),
    settings.functionNamespaces,
    (error, failures) =>
      log.warn("Cannot watch namespaces; what is known stays in force", { failures, error }),
  );
  const registry = metricsRegistry();
  addProcessMetrics(registry);
  const storage = signedClient({
    keys,
    origin: settings.storageUrl,
    audience: PAYLOADS_AUDIENCE,
    unavailable: "storage_unavailable",
  });
  const service = triggerService({
    ...settings,
    client,
    keys,
    log,
    registry,
    payloads: payloads(storageKeeper(storage)),
  });
  const metrics = await serveMetrics({
    host: settings.metricsHost,
    port: settings.metricsPort,
    registry,
    notReady: () => service.notReady(),
  });
  const port = await service.start({ host: settings.host, port: settings.port });
  log.info("Trigger service listens", { port, metricsPort: metrics.port });
  drainOnSignal({
    log,
    deadlineMs: settings.drainMs + DRAIN_MARGIN_MS,
    steps: [
      { name: "deliveries", stop: () => service.stop(settings.drainMs) },
      { name: "storage client", stop: () => storage.close() },
      { name: "Kubernetes client", stop: () => client.close() },
      { name: "metrics", stop: () => metrics.close() },
    ],
  });
}

startWith(
  TRIGGERS_SETTINGS,
  { argv: process.argv.slice(2), env: process.env, envPrefix: "ISOTOPE_TRIGGERS_" },
  start,
);
