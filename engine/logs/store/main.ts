import { createKubeClient } from "../../../kube/client.ts";
import { scopedClient } from "../../../kube/namespace-scope.ts";
import { drainOnSignal } from "../../../net/drain.ts";
import { keyRingFromFile } from "../../../net/keys.ts";
import { processLog } from "../../../net/log.ts";
import { addProcessMetrics, metricsRegistry } from "../../../net/metrics.ts";
import { serveMetrics } from "../../../net/metrics-server.ts";
import { startWith } from "../../../net/settings.ts";
import { openLogStore } from "../log-store.ts";
import { createLogStoreServer } from "../log-store-server.ts";
import { watchPodFacts } from "../pod-facts.ts";
import { LOG_STORE_SETTINGS, type LogStoreSettings } from "../settings.ts";

const DRAIN_DEADLINE_MS = 20_000;

/** The log store: takes lines from the nodes' collectors, keeps them, and answers the operations API. */
async function start(settings: LogStoreSettings): Promise<void> {
  const log = processLog("log-store");
  const keys = keyRingFromFile(settings.internalKeyFile);
  const collectorKeys =
    settings.collectorKeyFile === undefined ? keys : keyRingFromFile(settings.collectorKeyFile);
  const store = openLogStore({ folder: settings.folder, maxBytes: settings.maxBytes });
  const client = scopedClient(
    await createKubeClient({ kubeconfig: settings.kubeconfig }),
    settings.functionNamespaces,
    (error, failures) =>
      log.warn("Cannot watch namespaces; what is known stays in force", { failures, error }),
  );
  const pods = watchPodFacts(client, (error, failures) => {
    if (failures === 1 || failures % 20 === 0)
      log.warn("Cannot watch pods; trying again", { failures, error });
  });
  let waiting: string | undefined = "the pods are not listed yet";
  const notReady = (): string | undefined => waiting;
  const registry = metricsRegistry();
  addProcessMetrics(registry);
  const stored = registry
    .counter({ name: "isotope_logs_stored_lines_total", help: "Lines that were stored" })
    .series({});
  registry.gaugeOf(
    { name: "isotope_logs_stored_bytes", help: "Bytes of all stored lines" },
    () => store.bytes,
  );
  registry.gaugeOf(
    { name: "isotope_logs_followers", help: "Readers that wait for new lines" },
    () => store.followers,
  );
  const app = createLogStoreServer({
    store,
    keys,
    collectorKeys,
    factsOf: (uid) => pods.factsOf(uid),
    notReady,
    onStored: (lines) => {
      stored.value += lines;
    },
    log,
  });
  const metrics = await serveMetrics({
    host: settings.metricsHost,
    port: settings.metricsPort,
    registry,
    notReady,
  });
  pods.start();
  const origin = await app.listen({ host: settings.host, port: settings.port });
  pods.synced.then(
    () => (waiting = undefined),
    (error: unknown) => log.error("Cannot list the pods", { error }),
  );
  log.info("The log store listens", { origin, metricsPort: metrics.port, bytes: store.bytes });
  drainOnSignal({
    log,
    deadlineMs: DRAIN_DEADLINE_MS,
    steps: [
      { name: "API", stop: () => app.close() },
      { name: "pods", stop: () => pods.stop() },
      { name: "lines", stop: () => store.close() },
      { name: "Kubernetes client", stop: () => client.close() },
      { name: "metrics", stop: () => metrics.close() },
    ],
  });
}

startWith(
  LOG_STORE_SETTINGS,
  { argv: process.argv.slice(2), env: process.env, envPrefix: "ISOTOPE_LOG_STORE_" },
  start,
);
