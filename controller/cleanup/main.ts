import { createKubeClient } from "../../kube/client.ts";
import { processLog } from "../../net/log.ts";
import { startWith } from "../../net/settings.ts";
import { readKit } from "../function-namespace/kit.ts";
import { cleanup } from "./cleanup.ts";
import { CLEANUP_SETTINGS, type CleanupSettings } from "./settings.ts";

/** The job that runs when the platform was uninstalled. */
async function start(settings: CleanupSettings): Promise<void> {
  const log = processLog("cleanup");
  const client = await createKubeClient({ kubeconfig: settings.kubeconfig });
  await cleanup({
    client,
    namespace: settings.namespace,
    labels: settings.functionNamespaces,
    kit: readKit(settings.namespaceKit),
    timeoutMs: settings.timeoutMs,
    log,
  });
  log.info("Nothing is left");
  await client.close();
}

startWith(
  CLEANUP_SETTINGS,
  { argv: process.argv.slice(2), env: process.env, envPrefix: "ISOTOPE_CLEANUP_" },
  start,
);
