import { readFileSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { routerCounters } from "../controller/canary/router-counters.ts";
import { warmPods } from "../controller/canary/warm-pods.ts";
import { createController } from "../controller/controller.ts";
import { kubeAuthenticator } from "../controller/ops/authenticate.ts";
import { createOpsServer } from "../controller/ops/server.ts";
import { triggersClient } from "../controller/ops/triggers-client.ts";
import { watchPods } from "../controller/pods.ts";
import { definitionChecker, workflowsClient } from "../controller/workflow/workflows-client.ts";
import { builderPods } from "../engine/builder/builder-pods.ts";
import { kubeBuilderCluster } from "../engine/builder/kube-builder-cluster.ts";
import { packageBuilder } from "../engine/builder/package-builder.ts";
import { createExecutorProcess } from "../engine/executor/executor-process.ts";
import { EXECUTOR_SETTINGS } from "../engine/executor/settings.ts";
import { createCollector } from "../engine/logs/collector.ts";
import { openLogStore } from "../engine/logs/log-store.ts";
import { archiveRoutes } from "../engine/storage/archive-routes.ts";
import { DEFAULT_MAX_ARCHIVE_BYTES } from "../engine/storage/archive-store.ts";
import { listReferences } from "../engine/storage/kube-references.ts";
import { openLocalArchiveStore } from "../engine/storage/local-archive-store.ts";
import { archivePruner, PRUNE_DEFAULTS, pruneRegularly } from "../engine/storage/prune-archives.ts";
import { openLocalPayloadStore, SWEEP_MS } from "../engine/storage/payload-store.ts";
import { TRIGGERS_SETTINGS } from "../engine/triggers/settings.ts";
import { triggerService } from "../engine/triggers/trigger-service.ts";
import { createKubeClient } from "../kube/client.ts";
import { drainOnSignal } from "../net/drain.ts";
import { keyRingFromFile } from "../net/keys.ts";
import { processLog } from "../net/log.ts";
import { payloads } from "../net/payloads.ts";
import { regularly } from "../net/regularly.ts";
import { parseSettings } from "../net/settings.ts";
import { signedClient } from "../net/signed-client.ts";
import { localArchives } from "../workflows/definitions/definition-archives.ts";
import { childHosts } from "../workflows/host/child-host.ts";
import { denoBinary } from "../workflows/host/deno-binary.ts";
import { workflowService } from "../workflows/workflow-service.ts";
import { bootstrap } from "./bootstrap.ts";
import { componentHealth } from "./component-health.ts";
import { openHome } from "./home.ts";
import { kubernetesAnswers } from "./kubernetes-answers.ts";
import { portsFrom } from "./ports.ts";
import { SETTINGS } from "./settings.ts";
import { waitFor } from "./wait-for.ts";
import { warmBuilders } from "./warm-builders.ts";

/**
 * The control plane of a laptop in one process: reconcilers, operations API, executor, builder manager, archive store, log store. On a cluster each of
 * them is a process of its own; here they share one to save memory. `node local/control-plane.ts --home DIR --port-base N`.
 */
const HOST = "127.0.0.1";
const MAX_LOG_BYTES = 256 * 2 ** 20;
const BUILD_TIMEOUT_MS = 300_000;
const BUILDER_READY_MS = 60_000;
const BUILDS_AT_ONCE = 2;
const WARM_BUILDERS_AFTER_MS = 3_000;
const DRAIN_DEADLINE_MS = 20_000;
const WORKFLOW_GRACE_MS = 5_000;
const KUBERNETES_READY_MS = 60_000;
/** What a warm pod takes, with some room for what its function holds. */
const POD_BYTES = 64 * 2 ** 20;

const settings = parseSettings(SETTINGS, { argv: process.argv.slice(2), env: {} });
const { home } = openHome(settings.home);
const ports = portsFrom(settings.portBase);
const log = processLog("control-plane");
const keys = keyRingFromFile(home.internalKey);
// This process is started beside localkube, so that its code is loaded when the API answers.
await waitFor("localkube", KUBERNETES_READY_MS, () => kubernetesAnswers(home, ports));
const client = await createKubeClient({ kubeconfig: home.kubeconfig });
const maxArchiveBytes = DEFAULT_MAX_ARCHIVE_BYTES;
const store = await openLocalArchiveStore({ root: home.storage, maxArchiveBytes });
const payloadStore = await openLocalPayloadStore(home.storage);
const stopping = new AbortController();

const builder = packageBuilder({
  pods: builderPods({
    cluster: kubeBuilderCluster(client),
    masters: () => keys.masters(),
    log,
    readyTimeoutMs: BUILDER_READY_MS,
  }),
  log,
  concurrency: BUILDS_AT_ONCE,
  buildTimeoutMs: BUILD_TIMEOUT_MS,
  idlePodMs: 0,
  maxArtifactBytes: maxArchiveBytes,
});
const counters = routerCounters({ keys, peers: `http://${HOST}:${ports.routerInternal}`, log });
const executorApi = signedClient({
  keys,
  origin: `http://${HOST}:${ports.executor}`,
  audience: "executor",
  unavailable: "executor_unavailable",
});
const workflowsApi = workflowsClient(keys, `http://${HOST}:${ports.workflows}`);
const triggersApi = triggersClient(keys, `http://${HOST}:${ports.triggers}`);
const controller = createController({
  client,
  archives: store,
  builder,
  log,
  maxArchiveBytes,
  canary: { counters, warm: warmPods(executorApi) },
  checkDefinition: definitionChecker(workflowsApi),
  runs: workflowsApi,
});
const workflows = workflowService({
  client,
  keys,
  log: processLog("workflows"),
  redisUrl: process.env.ISOTOPE_REDIS_URL,
  routerInternalUrl: `http://${HOST}:${ports.routerInternal}`,
  archives: localArchives(store, maxArchiveBytes),
  hosts: childHosts({ deno: denoBinary(), denoDir: join(home.root, "deno") }),
});
const triggers = triggerService({
  ...parseSettings(TRIGGERS_SETTINGS, { argv: ["--internal-key-file", home.internalKey], env: {} }),
  client,
  keys,
  log: processLog("triggers"),
  redisUrl: process.env.ISOTOPE_REDIS_URL,
  routerInternalUrl: `http://${HOST}:${ports.routerInternal}`,
  workflowsUrl: `http://${HOST}:${ports.workflows}`,
  executorUrl: `http://${HOST}:${ports.executor}`,
  payloads: payloads({ ...payloadStore, put: (payload, content) => payloadStore.put(payload, [content]) }),
});
const executor = createExecutorProcess({
  client,
  keys,
  archives: { read: async (digest) => buffer(await store.open(digest)) },
  settings: parseSettings(EXECUTOR_SETTINGS, {
    argv: [
      "--port",
      String(ports.executor),
      "--internal-key-file",
      home.internalKey,
      // Pods share this machine: more starts at once than processors only slow each other, and memory is finite.
      "--parallel-starts",
      String(Math.max(2, availableParallelism())),
      "--max-pods-per-environment",
      String(Math.max(10, Math.floor(totalmem() / 2 / POD_BYTES))),
    ],
    env: {},
  }),
  host: HOST,
  port: ports.executor,
  log,
});

const pods = watchPods(client, (error, failures) => {
  if (failures === 1) log.warn("Cannot watch pods; trying again", { error });
});
const logs = openLogStore({ folder: home.logStore, maxBytes: MAX_LOG_BYTES });
const collector = createCollector({
  root: home.podLogs,
  checkpointFile: join(home.logStore, "checkpoint.json"),
  stored: logs.positions(),
  sink: (lines) => logs.append(lines),
  factsOf: (uid) => pods.factsOf(uid),
  log,
});

const router = signedClient({
  keys,
  origin: `http://${HOST}:${ports.routerInternal}`,
  audience: "router-internal",
  unavailable: "internal",
});
const ops = createOpsServer({
  namespaces: { labels: [] },
  authenticator: kubeAuthenticator(client),
  router,
  logs,
  status: {
    version: readVersion(),
    startedAt: new Date(),
    client,
    world: controller.world,
    pods,
    components: () => componentHealth(ports, readVersion(), () => controller.notReady()),
    archiveUse: async () => {
      const archives = await store.list();
      return { count: archives.length, bytes: archives.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
    },
  },
  releases: { world: controller.world, live: controller.canaries, counters },
  workflows: workflowsApi,
  triggers: triggersApi,
  log,
  archives: (scope) => archiveRoutes(scope, { store, maxArchiveBytes }),
  notReady: () => controller.notReady(),
});

/** Version of this program, from package.json beside the code. */
function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(import.meta.dirname, "..", "package.json"), "utf8"));
  return typeof manifest === "object" && manifest !== null && "version" in manifest
    ? String(manifest.version)
    : "unknown";
}

await bootstrap(client, process.env.ISOTOPE_FUNCTIONS_REDIS_URL);
pods.start();
controller.start();
await executor.start();
await workflows.start({ host: HOST, port: ports.workflows });
await triggers.start({ host: HOST, port: ports.triggers });
await ops.listen({ host: HOST, port: ports.ops });
void pods.synced.then(() => collector.start());
void warmBuilders({
  environments: () => controller.world.environments.list(),
  warm: (environment) => builder.warm(environment),
  afterMs: WARM_BUILDERS_AFTER_MS,
  signal: stopping.signal,
  log,
});
void pruneRegularly(
  archivePruner({
    store,
    listReferences: () => listReferences(client),
    graceMs: PRUNE_DEFAULTS.graceMs,
    log,
  }),
  PRUNE_DEFAULTS.intervalMs,
  log,
  stopping.signal,
);
void regularly(
  { everyMs: SWEEP_MS, firstAfterMs: 0, signal: stopping.signal },
  () => payloadStore.sweep(),
  (error) => log.warn("Cannot look for payloads whose time has come", { error }),
);
// Kept now: a process that is killed keeps nothing.
flushCompileCache();
log.info("Control plane is ready", { ops: ports.ops, executor: ports.executor });

drainOnSignal({
  log,
  deadlineMs: DRAIN_DEADLINE_MS,
  steps: [
    { name: "operations API", stop: () => ops.close() },
    { name: "triggers", stop: () => triggers.stop(WORKFLOW_GRACE_MS) },
    { name: "workflows", stop: () => workflows.stop(WORKFLOW_GRACE_MS) },
    { name: "executor", stop: () => executor.stop() },
    { name: "controller", stop: () => controller.stop() },
    { name: "builder", stop: () => builder.close() },
    {
      name: "logs",
      stop: async () => {
        stopping.abort();
        collector.stop();
        await pods.stop();
        logs.close();
      },
    },
    {
      name: "clients",
      stop: async () => {
        const apis = [router, counters, executorApi, workflowsApi, triggersApi];
        await Promise.all(apis.map((api) => api.close()));
      },
    },
    { name: "Kubernetes client", stop: () => client.close() },
  ],
});
