import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { createKubeClient } from "../../kube/client.ts";
import { electLeader } from "../../kube/lease.ts";
import { drainOnSignal } from "../../net/drain.ts";
import { keyRingFromFile } from "../../net/keys.ts";
import { processLog } from "../../net/log.ts";
import { addProcessMetrics, metricsRegistry } from "../../net/metrics.ts";
import { serveMetrics } from "../../net/metrics-server.ts";
import { regularly } from "../../net/regularly.ts";
import { startWith } from "../../net/settings.ts";
import { listReferences } from "./kube-references.ts";
import { openStore } from "./open-store.ts";
import { SWEEP_MS } from "./payload-store.ts";
import { archivePruner, pruneRegularly } from "./prune-archives.ts";
import { STORAGE_SETTINGS, type StorageSettings } from "./settings.ts";
import { createStorageServer } from "./storage-server.ts";

const DRAIN_DEADLINE_MS = 60_000;

/** The storage process: archives and payloads for the platform's other processes, and the removal of those that nothing names and whose time has come. */
async function start(settings: StorageSettings): Promise<void> {
  const log = processLog("storage");
  const keys = keyRingFromFile(settings.internalKeyFile);
  const opened = await openStore(settings, log);
  const client = await createKubeClient({ kubeconfig: settings.kubeconfig });
  const registry = metricsRegistry();
  addProcessMetrics(registry);
  const pruned = registry.counter({
    name: "isotope_storage_pruned_total",
    help: "Archives deleted because nothing named them",
  });
  const { store, payloads, notReady } = opened;
  registry.gaugeOf(
    { name: "isotope_storage_payload_bytes", help: "Bytes of large bodies and results" },
    () => payloads.use().bytes,
  );
  const app = createStorageServer({
    store,
    payloads,
    keys,
    registry,
    notReady,
    log,
    maxArchiveBytes: settings.maxArchiveBytes,
  });
  const pruner = archivePruner({
    store,
    listReferences: () => listReferences(client),
    graceMs: settings.pruneGraceMs,
    log,
  });
  const counted = {
    prune: async () => {
      const removed = await pruner.prune();
      pruned.series({}).value += removed.length;
      return removed;
    },
  };
  // Of several processes one prunes: what it has seen without a name is in its memory.
  const leader = electLeader({
    client,
    namespace: settings.namespace,
    name: "isotope-storage",
    identity: `${hostname()}-${randomUUID().slice(0, 8)}`,
    onError: (error) => log.warn("Cannot renew the Lease", { error }),
    onLeading: (lost) => void pruneRegularly(counted, settings.pruneIntervalMs, log, lost),
  });
  const stopping = new AbortController();
  // Each of several processes: what is gone already is no error.
  void regularly(
    { everyMs: SWEEP_MS, firstAfterMs: 0, spread: true, signal: stopping.signal },
    () => payloads.sweep(),
    (error) => log.warn("Cannot look for payloads whose time has come", { error }),
  );
  // Before it is said to be ready: whoever hears that calls at once.
  const origin = await app.listen({ host: settings.host, port: settings.port });
  const metrics = await serveMetrics({
    host: settings.metricsHost,
    port: settings.metricsPort,
    registry,
    notReady,
  });
  log.info("Storage is ready", { origin, backend: store.kind.type, metricsPort: metrics.port });
  drainOnSignal({
    log,
    deadlineMs: DRAIN_DEADLINE_MS,
    steps: [
      { name: "API", stop: () => app.close() },
      { name: "lease", stop: () => leader.stop() },
      {
        name: "store",
        stop: () => {
          stopping.abort();
          opened.close();
        },
      },
      { name: "Kubernetes client", stop: () => client.close() },
      { name: "metrics", stop: () => metrics.close() },
    ],
  });
}

startWith(
  STORAGE_SETTINGS,
  { argv: process.argv.slice(2), env: process.env, envPrefix: "ISOTOPE_STORAGE_" },
  start,
);
