import { readFileSync } from "node:fs";
import { createKubeClient } from "../../kube/client.ts";
import { scopedClient } from "../../kube/namespace-scope.ts";
import { drainOnSignal } from "../../net/drain.ts";
import { keyRingFromFile } from "../../net/keys.ts";
import { processLog } from "../../net/log.ts";
import { metricsRegistry } from "../../net/metrics.ts";
import { serveMetrics } from "../../net/metrics-server.ts";
import { startWith } from "../../net/settings.ts";
import { createRouter } from "./router.ts";
import { ROUTER_SETTINGS, type RouterSettings } from "./settings.ts";

/** The router process. */
async function start(settings: RouterSettings): Promise<void> {
  const log = processLog("router", { level: settings.logLevel });
  const registry = metricsRegistry();
  const keys = keyRingFromFile(settings.internalKeyFile);
  const kube = scopedClient(
    await createKubeClient({ kubeconfig: settings.kubeconfig }),
    settings.functionNamespaces,
    (error, failures) =>
      log.warn("Cannot watch namespaces; what is known stays in force", { failures, error }),
  );
  const router = createRouter({ settings, kube, keys, log, registry, version: versionFacts() });
  const metrics = await serveMetrics({
    host: settings.metricsHost,
    port: settings.metricsPort,
    registry,
    notReady: () => router.notReady(),
  });
  drainOnSignal({
    log,
    deadlineMs: settings.drainDelayMs + settings.drainDeadlineMs + 5_000,
    steps: [
      {
        name: "readiness",
        stop: () => {
          router.beginDrain();
          return new Promise((resolve) => setTimeout(resolve, settings.drainDelayMs));
        },
      },
      {
        name: "listeners",
        stop: async () => {
          const cut = await router.drain(settings.drainDeadlineMs);
          if (cut > 0) log.warn("Requests were cut at the drain deadline", { cut });
        },
      },
      { name: "router", stop: () => router.stop() },
      { name: "kubernetes client", stop: () => kube.close() },
      { name: "metrics", stop: () => metrics.close() },
    ],
  });
  const ports = await router.start();
  log.info("Router is ready", {
    host: settings.host,
    ...ports,
    metricsPort: metrics.port,
    kubernetes: kube.server,
  });
}

function versionFacts(): { Version: string; GitCommit: string; BuildDate: string } {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const version =
    typeof manifest === "object" && manifest !== null && "version" in manifest
      ? String(manifest.version)
      : "";
  return {
    Version: version,
    GitCommit: process.env["ISOTOPE_GIT_COMMIT"] ?? "",
    BuildDate: process.env["ISOTOPE_BUILD_DATE"] ?? "",
  };
}

startWith(
  ROUTER_SETTINGS,
  { argv: process.argv.slice(2), env: process.env, envPrefix: "ISOTOPE_ROUTER_" },
  start,
);
