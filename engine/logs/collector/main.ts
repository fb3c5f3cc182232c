import { setTimeout as sleep } from "node:timers/promises";
import { LOG_STORE_AUDIENCE } from "../../../api/wire/logs.ts";
import { drainOnSignal } from "../../../net/drain.ts";
import { keyRingFromFile } from "../../../net/keys.ts";
import { type Log, processLog } from "../../../net/log.ts";
import { addProcessMetrics, type MetricsRegistry, metricsRegistry } from "../../../net/metrics.ts";
import { serveMetrics } from "../../../net/metrics-server.ts";
import { startWith } from "../../../net/settings.ts";
import { signedClient } from "../../../net/signed-client.ts";
import { type NodeCollector, type NodeCollectorOptions, startNodeCollector } from "../node-collector.ts";
import { LOG_COLLECTOR_SETTINGS, type LogCollectorSettings } from "../settings.ts";

const DRAIN_DEADLINE_MS = 15_000;
const LAST_LINES_MS = 10_000;
const RETRY_MS = 1_000;

/** A node's log collector. It holds no credentials of the cluster: the log store says which pods are the platform's. */
async function start(settings: LogCollectorSettings): Promise<void> {
  const log = processLog("log-collector");
  const store = signedClient({
    keys: keyRingFromFile(settings.internalKeyFile),
    origin: settings.storeUrl,
    audience: LOG_STORE_AUDIENCE,
    unavailable: "log_store_unavailable",
    connections: 2,
  });
  const registry = metricsRegistry();
  addProcessMetrics(registry);
  let collector: NodeCollector | undefined;
  collectorMetrics(registry, () => collector);
  const metrics = await serveMetrics({
    host: settings.metricsHost,
    port: settings.metricsPort,
    registry,
    notReady: () => (collector ? collector.trouble() : "the log store has not answered yet"),
  });
  const stopping = new AbortController();
  drainOnSignal({
    log,
    deadlineMs: DRAIN_DEADLINE_MS,
    steps: [
      {
        name: "collector",
        stop: async () => {
          stopping.abort();
          await collector?.stop(LAST_LINES_MS);
        },
      },
      { name: "store client", stop: () => store.close() },
      { name: "metrics", stop: () => metrics.close() },
    ],
  });
  const started = { store, node: settings.node, root: settings.podLogs, log };
  collector = await startWhenAnswered(started, log, stopping.signal);
  if (collector)
    log.info("Collecting", { node: settings.node, from: settings.podLogs, metricsPort: metrics.port });
}

async function startWhenAnswered(
  options: NodeCollectorOptions,
  log: Log,
  signal: AbortSignal,
): Promise<NodeCollector | undefined> {
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      return await startNodeCollector(options);
    } catch (error) {
      if (failures % 30 === 0) log.warn("The log store does not answer; trying again", { error });
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
  return undefined;
}

function collectorMetrics(registry: MetricsRegistry, collector: () => NodeCollector | undefined): void {
  registry.gaugeOf(
    { name: "isotope_logs_containers", help: "Containers with a log on this node" },
    () => collector()?.containers ?? 0,
  );
  registry.gaugeOf(
    { name: "isotope_logs_pending_lines", help: "Lines read and not yet taken by the store" },
    () => collector()?.pendingLines ?? 0,
  );
  registry.gaugeOf(
    { name: "isotope_logs_sent_lines_total", help: "Lines that the store has taken" },
    () => collector()?.sentLines ?? 0,
  );
}

startWith(
  LOG_COLLECTOR_SETTINGS,
  { argv: process.argv.slice(2), env: process.env, envPrefix: "ISOTOPE_LOG_COLLECTOR_" },
  start,
);
