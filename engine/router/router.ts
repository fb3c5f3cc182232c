import { PlatformError } from "../../api/errors.ts";
import { NO_TRIGGER_SERVICE } from "../../api/event-errors.ts";
import { NO_WORKFLOW_SERVICE } from "../../api/workflow-errors.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { KeyRing } from "../../net/keys.ts";
import type { Log } from "../../net/log.ts";
import type { MetricsRegistry } from "../../net/metrics.ts";
import { TRIGGERS_AUDIENCE } from "../../api/wire/invocations.ts";
import { WORKFLOWS_AUDIENCE } from "../../api/wire/workflows.ts";
import { redisConnection } from "../../net/redis.ts";
import { signedClient } from "../../net/signed-client.ts";
import { referenceVerifier } from "../../net/reference-sign.ts";
import { verifier } from "../../net/sign.ts";
import { type AsyncCalls, asyncCalls, type AsyncCallsDeps } from "./async-calls.ts";
import { accessLog } from "./access-log.ts";
import { coreErrorReply } from "./core-errors.ts";
import { firstAnswers } from "./first-answers.ts";
import { forwardedWriter } from "./forwarded.ts";
import { createListener } from "./http/listener.ts";
import type { ListenerOptions } from "./http/types.ts";
import { invocationAddresses } from "./invocation-address.ts";
import { internalHandler } from "./internal-handler.ts";
import { createInvoker } from "./invoke.ts";
import { ownPaths } from "./own-paths.ts";
import { publicHandler } from "./public-handler.ts";
import { previewHosts } from "./preview-host.ts";
import { addListenerMetrics } from "./router-metrics.ts";
import { createRoutingState } from "./routing-state.ts";
import { runAddresses } from "./run-address.ts";
import type { RouterSettings } from "./settings.ts";
import { UnreadyCalls } from "./unready-calls.ts";
import { type WorkflowCalls, workflowCalls, type WorkflowCallsDeps } from "./workflow-calls.ts";

/** The identity of the router's internal listener in signed calls. */
const ROUTER_AUDIENCE = "router-internal";

export interface RouterDeps {
  readonly settings: RouterSettings;
  readonly kube: KubeClient;
  readonly keys: KeyRing;
  readonly log: Log;
  readonly registry: MetricsRegistry;
  readonly version: { readonly Version: string; readonly GitCommit: string; readonly BuildDate: string };
}

export interface Router {
  /** Waits until all routes and endpoints are known, then listens. @returns the bound ports */
  start(): Promise<{ port: number; internalPort: number }>;
  /** Undefined when requests are served, else what is missing. */
  notReady(): string | undefined;
  /** From now on `/readyz` says 503, so that load balancers look elsewhere; requests are still served. */
  beginDrain(): void;
  /** Stops accepting and lets requests in flight finish. @returns how many were cut at the deadline */
  drain(deadlineMs: number): Promise<number>;
  /** Stops watches and closes all connections. */
  stop(): Promise<void>;
}

/** A router over a Kubernetes client and an executor; nothing runs before `start` but its watches. */
export function createRouter(deps: RouterDeps): Router {
  const { settings, log, registry, keys } = deps;
  const state = createRoutingState({ ...deps, settled: (slot) => invoker.settled(slot) });
  let listening = false;
  let draining = false;
  const notReady = () => {
    if (draining) return "draining";
    return state.watches.notSynced() ?? (listening ? undefined : "not listening yet");
  };
  const invoker = createInvoker({
    index: state.index,
    metrics: state.metrics,
    unready: new UnreadyCalls(settings),
    suspect: (endpoint, reason) => state.executor.suspect(endpoint, reason),
    debugErrors: settings.debugErrors,
    logEnd: accessLog(settings.accessLog, log),
  });
  const redis = redisConnection({ url: settings.redisUrl, log, name: "router" });
  const forwarded = forwardedWriter(settings.trustedProxies);
  const preview = previewHosts(settings.previewDomain, state.functions);
  const refuse: AsyncCallsDeps["refuse"] = (exchange, error, lines) => invoker.refuse(exchange, error, lines);
  const workflows = workflowsOf(deps, refuse);
  const async = asyncOf(deps, refuse);
  const own = ownPaths({ version: deps.version, notReady });
  const options = listenerOptions(settings, state.upstreams);
  const publicListener = createListener(
    publicHandler({
      table: state.table,
      invoker,
      forwarded,
      ownPaths: own,
      preview,
      workflows: workflows.calls,
      async: async.calls,
    }),
    options(settings.maxConnectionsPerClient),
  );
  const internalListener = createListener(
    internalHandler({
      functions: state.functions,
      aliases: state.aliases,
      counters: (uids) => state.counters(uids),
      invoker,
      async: async.calls,
      firstAnswers: firstAnswers({
        redis,
        metrics: state.metrics,
        log,
        maxBytes: settings.firstAnswerBytes,
        maxTtlS: settings.firstAnswerTtlMs / 1_000,
        refuse,
      }),
      forwarded,
      verifier: verifier(keys, ROUTER_AUDIENCE),
      reference: referenceVerifier(keys, "router-internal"),
      maxBodyBytes: settings.internalBodyBytes,
    }),
    options(0),
  );
  addListenerMetrics(registry, { public: publicListener, internal: internalListener }, state.upstreams);
  return {
    notReady,
    start: async () => {
      await state.watches.synced;
      const port = await publicListener.listen(settings.host, settings.port, {
        reusePort: settings.reusePort,
      });
      const internalPort = await internalListener.listen(settings.internalHost, settings.internalPort);
      listening = true;
      return { port, internalPort };
    },
    beginDrain: () => {
      draining = true;
      publicListener.drain();
      internalListener.drain();
    },
    drain: async (deadlineMs) => {
      draining = true;
      const [cut, internalCut] = await Promise.all([
        publicListener.close(deadlineMs),
        internalListener.close(deadlineMs),
      ]);
      return cut + internalCut;
    },
    stop: async () => {
      await state.stop();
      await Promise.all([redis.close(), workflows.close(), async.close()]);
    },
  };
}

const listenerOptions =
  ({ maxConnections }: RouterSettings, upstreams: ListenerOptions["upstreams"]) =>
  (maxConnectionsPerClient: number): ListenerOptions => ({
    upstreams,
    errorReply: coreErrorReply,
    limits: { maxConnections, maxConnectionsPerClient },
  });

function asyncOf(
  { keys, settings }: RouterDeps,
  refuse: AsyncCallsDeps["refuse"],
): { calls: AsyncCalls; close: () => Promise<void> } {
  const client =
    settings.triggersUrl === ""
      ? undefined
      : signedClient({
          keys,
          origin: settings.triggersUrl,
          audience: TRIGGERS_AUDIENCE,
          unavailable: "triggers_unavailable",
        });
  const none = async () => {
    throw new PlatformError("triggers_unavailable", NO_TRIGGER_SERVICE);
  };
  const calls = asyncCalls({
    client: client ?? { send: none },
    addresses: invocationAddresses(keys),
    maxBodyBytes: settings.asyncBodyBytes,
    refuse,
  });
  return { calls, close: async () => client?.close() };
}

function workflowsOf(
  { keys, settings }: RouterDeps,
  refuse: WorkflowCallsDeps["refuse"],
): { calls: WorkflowCalls; close: () => Promise<void> } {
  const client =
    settings.workflowsUrl === ""
      ? undefined
      : signedClient({
          keys,
          origin: settings.workflowsUrl,
          audience: WORKFLOWS_AUDIENCE,
          unavailable: "workflows_unavailable",
        });
  const none = async () => {
    throw new PlatformError("workflows_unavailable", NO_WORKFLOW_SERVICE);
  };
  const calls = workflowCalls({
    client: client ?? { send: none },
    addresses: runAddresses(keys),
    maxBodyBytes: settings.workflowBodyBytes,
    refuse,
  });
  return { calls, close: async () => client?.close() };
}
