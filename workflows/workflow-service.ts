import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { FastifyInstance } from "fastify";
import { PlatformError } from "../api/errors.ts";
import type { Workflow } from "../api/kinds/index.ts";
import type { KubeClient } from "../kube/client.ts";
import { watchFunctionWorld } from "../kube/function-world.ts";
import { createInformer, type Informer } from "../kube/informer.ts";
import { WORKFLOWS } from "../kube/kinds.ts";
import type { KeyRing } from "../net/keys.ts";
import type { Log } from "../net/log.ts";
import { redisConnection } from "../net/redis.ts";
import { type SignedClient, signedClient } from "../net/signed-client.ts";
import { watchWarnings } from "../net/watch-warnings.ts";
import type { Message, RunKey } from "./core/run-record.ts";
import type { DefinitionArchives } from "./definitions/definition-archives.ts";
import { type DefinitionRegister, definitionRegister } from "./definitions/definition-register.ts";
import { type DefinitionService, definitionService } from "./definitions/definition-service.ts";
import { definitionKeeper, keepRegularly } from "./definitions/keep-definitions.ts";
import { releaseRegularly } from "./definitions/release-definitions.ts";
import { definitionHost } from "./host/definition-host.ts";
import type { StartHost } from "./host/host-process.ts";
import type { Delivered, Journal } from "./journal/journal.ts";
import { redisJournal } from "./journal/redis-journal.ts";
import { redisPayloads } from "./payloads/redis-payloads.ts";
import { holdsReleaser, releaseHoldsRegularly } from "./pins/release-holds.ts";
import { createPins } from "./pins/resolve-pins.ts";
import { cleanRegularly, retentionPolicy } from "./retention/clean-regularly.ts";
import { callbacksRoutes } from "./server/callbacks-route.ts";
import { definitionsRoute } from "./server/definitions-route.ts";
import { graphRoutes } from "./server/graph-routes.ts";
import { runChanges } from "./server/run-changes.ts";
import { runsOf } from "./server/runs.ts";
import { runsRoutes } from "./server/runs-routes.ts";
import { createWorkflowServer } from "./server/server.ts";
import { type CurrentWorkflow, runStarter } from "./server/start-run.ts";
import { streamRoute } from "./server/stream-route.ts";
import { functionCaller } from "./worker/call-function.ts";
import { callbackTokens } from "./worker/callback-token.ts";
import { childStarter } from "./worker/child-runs.ts";
import { callAfter, type Engine, startEngine } from "./worker/engine.ts";
import { effectPerformer } from "./worker/perform-effect.ts";

export interface WorkflowServiceOptions {
  readonly client: KubeClient;
  readonly keys: KeyRing;
  readonly log: Log;
  /** Undefined or empty: everything answers 503 `redis_unavailable`. */
  readonly redisUrl: string | undefined;
  readonly routerInternalUrl: string;
  readonly archives: DefinitionArchives;
  /** Where definitions' code runs. */
  readonly hosts: StartHost;
  /** Of one transition. */
  readonly transitionMs?: number;
}

export interface WorkflowService {
  readonly server: FastifyInstance;
  /** Begins to watch, to listen and, once Redis is there, to work. Resolves with the port. */
  start(listen: { readonly host: string; readonly port: number }): Promise<number>;
  notReady(): string | undefined;
  /** Runs in hand. */
  held(): number;
  /** Gives all runs back; what is under way may end within `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

const CONNECTIONS = 1_024;
const RELEASE_EVERY_MS = 600_000;

/** The workflow service: workers that drive runs, and the API by which runs are started and steered. */
export function workflowService(options: WorkflowServiceOptions): WorkflowService {
  const { keys, log } = options;
  const objects = watchObjects(options);
  const parts = serviceParts(options, objects);
  const { redis, definitions, router } = parts;
  const notReady = (): string | undefined => (objects.isSynced() ? undefined : "objects are not listed yet");
  const server = createWorkflowServer({ keys, log, notReady, routes: parts.routes });
  const stopping = new AbortController();
  return {
    server,
    notReady,
    held: () => parts.held(),
    start: async ({ host, port }) => {
      objects.start();
      await server.listen({ host, port });
      if (options.redisUrl)
        parts
          .work(options.redisUrl, stopping.signal)
          .catch((error: unknown) => log.error("Cannot begin to work on runs", { error }));
      const address = server.server.address();
      return address !== null && typeof address === "object" ? address.port : 0;
    },
    stop: async (graceMs) => {
      stopping.abort();
      await server.close();
      await parts.stopWork(graceMs);
      definitions.close();
      await Promise.all([objects.stop(), router.close()]);
      await redis.close();
    },
  };
}

function watchObjects({ client, log }: WorkflowServiceOptions) {
  const onError = watchWarnings(log);
  const functions = watchFunctionWorld(client, onError);
  const workflows = createInformer<Workflow>({
    client,
    type: WORKFLOWS,
    onError: (error, failures) => onError("Workflow", error, failures),
  });
  return {
    functions,
    workflows,
    start: () => {
      functions.start();
      workflows.start();
    },
    isSynced: () => functions.isSynced() && workflows.hasSynced(),
    stop: () => Promise.all([functions.stop(), workflows.stop()]),
  };
}

function serviceParts(options: WorkflowServiceOptions, objects: ReturnType<typeof watchObjects>) {
  const { client, keys, log } = options;
  const redis = redisConnection({ url: options.redisUrl, log, name: "workflows" });
  const changes = runChanges(redisJournal(() => redis.client()));
  const { journal } = changes;
  const payloads = redisPayloads(() => redis.client());
  const definitions = hostedDefinitions(options);
  let engine: Engine | undefined;
  const wake = (key: RunKey): void => engine?.wake(key);
  const deliver = async (key: RunKey, message: Message): Promise<Delivered> => {
    const delivered = await journal.deliver(key, message);
    if (delivered.kind === "accepted") engine?.wake(key, delivered.owner);
    return delivered;
  };
  const pins = createPins({ client, world: objects.functions });
  const current = currentWorkflow(objects.workflows, definitions);
  const register = definitionRegister(() => redis.client());
  const start = runStarter({ journal, payloads, pins, register, current, wake });
  const tokens = callbackTokens(keys);
  const router = routerClient(options);
  const performer = effectPerformer({
    journal,
    payloads,
    clock: { now: () => engine?.now() ?? Date.now(), after: callAfter },
    random: Math.random,
    call: functionCaller({ router, versionExists: (...version) => pins.exists(...version) }),
    tokens,
    startChild: childStarter(start),
    cancel: (key, reason) => deliver(key, { kind: "cancel", reason }),
  });
  const runs = runsOf({ journal, definitions, deliver, wake });
  return {
    redis,
    definitions,
    router,
    routes: (scope: FastifyInstance): void => {
      const deps = { journal, payloads, start, runs, changes };
      runsRoutes(scope, deps);
      streamRoute(scope, deps);
      callbacksRoutes(scope, { tokens, payloads, deliver });
      definitionsRoute(scope, definitions);
      graphRoutes(scope, { journal, definitions, runs, current });
    },
    work: async (redisUrl: string, signal: AbortSignal): Promise<void> => {
      const name = `${hostname()}-${randomUUID().slice(0, 8)}`;
      const ports = { journal, definitions, performer, payloads, deliver };
      engine = await startEngine({ ...ports, name, redisUrl, log, signal });
      void keepHouse(options, objects, { journal, register }, signal);
    },
    held: (): number => engine?.held() ?? 0,
    stopWork: async (graceMs: number): Promise<void> => engine?.stop(graceMs),
  };
}

/** Runs that ended long ago go, and what they and those before them have held. */
async function keepHouse(
  { client, log, archives }: WorkflowServiceOptions,
  { functions, workflows }: ReturnType<typeof watchObjects>,
  { journal, register }: { readonly journal: Journal; readonly register: DefinitionRegister },
  signal: AbortSignal,
): Promise<void> {
  await Promise.all([functions.synced, workflows.synced]);
  const policyOf = (namespace: string, workflow: string) =>
    retentionPolicy(workflows.get(`${namespace}/${workflow}`)?.spec.historyRetention);
  const releaser = holdsReleaser({ journal, client, world: functions });
  await Promise.all([
    cleanRegularly({ journal, policyOf }, log, signal),
    releaseHoldsRegularly(releaser, RELEASE_EVERY_MS, log, signal),
    releaseRegularly({ journal, client, workflows: () => workflows.list() }, log, signal),
    keepRegularly(
      definitionKeeper({ register, archives, journal, workflows: () => workflows.list() }),
      log,
      signal,
    ),
  ]);
}

const hostedDefinitions = (options: WorkflowServiceOptions): DefinitionService =>
  definitionService({
    archives: options.archives,
    openHost: (namespace) =>
      definitionHost({
        start: options.hosts,
        deadlineMs: options.transitionMs,
        onEvent: (event) => options.log.debug("Definition host", { namespace, ...event }),
      }),
  });

const routerClient = ({ keys, routerInternalUrl }: WorkflowServiceOptions): SignedClient =>
  signedClient({
    keys,
    origin: routerInternalUrl,
    audience: "router-internal",
    unavailable: "internal",
    connections: CONNECTIONS,
  });

const currentWorkflow =
  (workflows: Informer<Workflow>, definitions: DefinitionService) =>
  async (namespace: string, workflow: string): Promise<CurrentWorkflow> => {
    const object = workflows.get(`${namespace}/${workflow}`);
    if (!object)
      throw new PlatformError("workflow_not_found", `Workflow "${namespace}/${workflow}" does not exist`);
    const { uid = "", generation = 0 } = object.metadata;
    return { uid, generation, definition: await definitions.current(object) };
  };
