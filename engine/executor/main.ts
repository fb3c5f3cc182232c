import { createKubeClient } from "../../kube/client.ts";
import { scopedClient } from "../../kube/namespace-scope.ts";
import { drainOnSignal } from "../../net/drain.ts";
import { keyRingFromFile } from "../../net/keys.ts";
import { processLog } from "../../net/log.ts";
import { parseSettings, SettingsError, settingsHelp } from "../../net/settings.ts";
import { signedClient } from "../../net/signed-client.ts";
import { storageArchives } from "./archive-client.ts";
import { createExecutorProcess } from "./executor-process.ts";
import { EXECUTOR_SETTINGS } from "./settings.ts";

const MAX_ARCHIVE_BYTES = 2 ** 30;
const DRAIN_DEADLINE_MS = 10_000;

/** The executor as a process of its own. */
async function main(): Promise<void> {
  const argv = process.argv.slice(2);
  if (argv.includes("--help")) {
    process.stdout.write(
      `Isotope's executor: pools and specialises function pods\n\n${settingsHelp(EXECUTOR_SETTINGS)}\n`,
    );
    return;
  }
  const settings = parseSettings(EXECUTOR_SETTINGS, {
    argv,
    env: process.env,
    envPrefix: "ISOTOPE_EXECUTOR_",
  });
  const log = processLog("executor");
  const keys = keyRingFromFile(settings.internalKeyFile);
  const client = scopedClient(
    await createKubeClient({ kubeconfig: settings.kubeconfig }),
    settings.functionNamespaces,
    (error, failures) =>
      log.warn("cannot watch namespaces; what is known stays in force", { failures, error }),
  );
  const storage = signedClient({
    keys,
    origin: settings.storageUrl,
    audience: "storage",
    unavailable: "archive_unavailable",
  });
  const executor = createExecutorProcess({
    client,
    keys,
    archives: storageArchives(storage, MAX_ARCHIVE_BYTES),
    settings,
    host: settings.host,
    port: settings.port,
    log,
    ...(settings.advertise === ""
      ? {}
      : {
          group: {
            namespace: settings.namespace,
            address: settings.advertise,
            leaseMs: settings.leaseMs,
            handoverMs: settings.handoverMs,
          },
        }),
  });
  const origin = await executor.start();
  log.info("Executor listens", { origin });
  drainOnSignal({
    log,
    deadlineMs: DRAIN_DEADLINE_MS,
    steps: [
      { name: "executor", stop: () => executor.stop() },
      { name: "storage client", stop: () => storage.close() },
      { name: "Kubernetes client", stop: () => client.close() },
    ],
  });
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof SettingsError ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
