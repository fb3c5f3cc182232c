import fastify from "fastify";
import { buffer } from "node:stream/consumers";
import { createController } from "../controller/controller.ts";
import { builderPods } from "../engine/builder/builder-pods.ts";
import { kubeBuilderCluster } from "../engine/builder/kube-builder-cluster.ts";
import { packageBuilder } from "../engine/builder/package-builder.ts";
import { createExecutorProcess } from "../engine/executor/executor-process.ts";
import { EXECUTOR_SETTINGS } from "../engine/executor/settings.ts";
import { archiveRoutes } from "../engine/storage/archive-routes.ts";
import { openLocalArchiveStore } from "../engine/storage/local-archive-store.ts";
import { createKubeClient } from "../kube/client.ts";
import { keyRingFromFile } from "../net/keys.ts";
import { processLog } from "../net/log.ts";
import { parseSettings } from "../net/settings.ts";
import { openHome } from "./home.ts";
import { portsFrom } from "./ports.ts";
import { SETTINGS } from "./settings.ts";

const settings = parseSettings(SETTINGS, { argv: process.argv.slice(2), env: {} });
const { home } = openHome(settings.home);
const ports = portsFrom(settings.portBase);
const log = processLog("control-plane");
const keys = keyRingFromFile(home.internalKey);
const client = await createKubeClient({ kubeconfig: home.kubeconfig });
const store = await openLocalArchiveStore({ root: home.storage });
const builder = packageBuilder({
  pods: builderPods({ cluster: kubeBuilderCluster(client), masters: () => keys.masters(), log, readyTimeoutMs: 60_000 }),
  log,
  concurrency: 2,
  buildTimeoutMs: 120_000,
  idlePodMs: 0,
  maxArtifactBytes: 256 * 2 ** 20,
});
const controller = createController({ client, archives: store, builder, log });
const executor = createExecutorProcess({
  client,
  keys,
  archives: { read: async (digest) => buffer(await store.open(digest)) },
  settings: parseSettings(EXECUTOR_SETTINGS, { argv: ["--port", String(ports.executor), "--internal-key-file", home.internalKey], env: {} }),
  host: "127.0.0.1",
  port: ports.executor,
  log,
});
const app = fastify();
app.get("/healthz", () => "ok");
app.register(async (scope) => archiveRoutes(scope, { store, maxArchiveBytes: 256 * 2 ** 20 }));
controller.start();
await executor.start();
await app.listen({ host: "127.0.0.1", port: ports.ops });
