import type { FastifyInstance } from "fastify";
import type { KubeClient } from "../kube/client.ts";
import type { KeyRing } from "../net/keys.ts";
import type { Log } from "../net/log.ts";
import { signedClient } from "../net/signed-client.ts";
import { routerCounters } from "./canary/router-counters.ts";
import { warmPods } from "./canary/warm-pods.ts";
import { type Controller, type ControllerOptions, createController } from "./controller.ts";
import { kubeAuthenticator } from "./ops/authenticate.ts";
import type { LogReader } from "./ops/logs-route.ts";
import { healthCheck, type ProbedComponent, probeComponents } from "./ops/probe.ts";
import { createOpsServer } from "./ops/server.ts";
import { triggersClient } from "./ops/triggers-client.ts";
import { type PodBook, watchPods } from "./pods.ts";
import { definitionChecker, workflowsClient } from "./workflow/workflows-client.ts";

/** The receiver's identity of the router's internal listener. */
const ROUTER_AUDIENCE = "router-internal";

export interface ControlPlaneOptions {
  readonly client: KubeClient;
  readonly keys: KeyRing;
  readonly log: Log;
  readonly version: string;
  /** The reconcilers' part: archive store, builder, limits. */
  readonly controller: Omit<ControllerOptions, "client" | "log" | "canary" | "checkDefinition" | "runs">;
  /** Origin of the router's internal listener, e.g. `http://127.0.0.1:8889`. */
  readonly routerInternalUrl: string;
  /** Every address of its host is a router's internal listener, e.g. `http://router-peers:8889`. */
  readonly routerPeers: string;
  /** Origin of the executor's API. */
  readonly executorUrl: string;
  /** Origin of the workflow service; absent: there is none. */
  readonly workflowsUrl?: string;
  /** Origin of the trigger service; absent: there is none. */
  readonly triggersUrl?: string;
  readonly logs: LogReader;
  /** Registers the archive store's routes. */
  readonly archiveRoutes: (scope: FastifyInstance) => void;
  readonly archiveUse: () => Promise<{ count: number; bytes: number }>;
  /** Other processes whose health `GET /v1/status` tells. */
  readonly components: readonly ProbedComponent[];
  /** The labels that the client's scope goes by; nothing where it has none. */
  readonly namespaceLabels?: readonly string[];
  readonly listen: { readonly host: string; readonly port: number };
}

/** Reconcilers, pod book and operations API in one process. */
export interface ControlPlane {
  readonly controller: Controller;
  readonly pods: PodBook;
  /** Begins to watch and to listen, which every replica does; gives the operations API's port. */
  start(): Promise<number>;
  /** Begins to reconcile, which one replica does. */
  lead(): void;
  /** Why it cannot serve now, or undefined. */
  notReady(): string | undefined;
  stop(): Promise<void>;
}

export function createControlPlane(options: ControlPlaneOptions): ControlPlane {
  const { client, log } = options;
  const startedAt = new Date();
  const counters = routerCounters({ keys: options.keys, peers: options.routerPeers, log });
  const executor = signedClient({
    keys: options.keys,
    origin: options.executorUrl,
    audience: "executor",
    unavailable: "executor_unavailable",
  });
  const canary = { counters, warm: warmPods(executor) };
  const workflows =
    options.workflowsUrl === undefined ? undefined : workflowsClient(options.keys, options.workflowsUrl);
  const triggers =
    options.triggersUrl === undefined ? undefined : triggersClient(options.keys, options.triggersUrl);
  const controller = createController({
    ...options.controller,
    client,
    log,
    canary,
    ...(workflows ? { checkDefinition: definitionChecker(workflows), runs: workflows } : {}),
    ...(options.triggersUrl === undefined
      ? {}
      : { triggerService: { answers: healthCheck(`${options.triggersUrl}/healthz`) } }),
  });
  const pods = watchPods(client, (error, failures) => {
    if (failures === 1 || failures % 20 === 0)
      log.warn("Cannot watch pods; trying again", { failures, error });
  });
  const router = signedClient({
    keys: options.keys,
    origin: options.routerInternalUrl,
    audience: ROUTER_AUDIENCE,
    unavailable: "connection_refused",
  });
  const app = createOpsServer({
    authenticator: kubeAuthenticator(client),
    router,
    logs: options.logs,
    releases: { world: controller.world, live: controller.canaries, counters },
    ...(workflows ? { workflows } : {}),
    ...(triggers ? { triggers } : {}),
    log,
    namespaces: { scope: client.scope, labels: options.namespaceLabels ?? [] },
    archives: options.archiveRoutes,
    notReady: () => controller.notReady(),
    status: {
      version: options.version,
      startedAt,
      client,
      world: controller.world,
      pods,
      archiveUse: options.archiveUse,
      components: async () => [
        {
          name: "controller",
          status: controller.notReady() ? "down" : "up",
          version: options.version,
          message: controller.notReady() ?? "",
        },
        ...(await probeComponents(options.components, options.version)),
      ],
    },
  });
  return {
    controller,
    pods,
    lead: () => controller.start(),
    notReady: () => controller.notReady(),
    start: async () => {
      controller.observe();
      pods.start();
      await app.listen(options.listen);
      const address = app.server.address();
      return typeof address === "object" && address ? address.port : options.listen.port;
    },
    stop: async () => {
      await app.close();
      await Promise.all([controller.stop(), pods.stop()]);
      await Promise.all([
        router.close(),
        counters.close(),
        executor.close(),
        workflows?.close(),
        triggers?.close(),
      ]);
    },
  };
}
