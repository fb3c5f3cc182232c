import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { WORKFLOWS_AUDIENCE } from "../../api/wire/workflows.ts";
import type { KubeClient } from "../../kube/client.ts";
import { watchFunctionWorld } from "../../kube/function-world.ts";
import type { KeyRing } from "../../net/keys.ts";
import type { Log } from "../../net/log.ts";
import { type MetricsRegistry, metricsRegistry } from "../../net/metrics.ts";
import type { Payloads } from "../../net/payloads.ts";
import { redisConnection } from "../../net/redis.ts";
import { type SignedClient, signedClient } from "../../net/signed-client.ts";
import { watchWarnings } from "../../net/watch-warnings.ts";
import { deliverer } from "./delivery/deliver.ts";
import { measuredDeliver } from "./delivery/measured-deliver.ts";
import { versionHolds } from "./invocations/hold-versions.ts";
import { createInvocations } from "./invocations/invocations.ts";
import { referenceDeadLetterRoutes } from "./invocations/reference-routes.ts";
import { invocationRoutes } from "./invocations/routes.ts";
import type { Part, PartDeps } from "./part.ts";
import { queuesPart } from "./queues/queues-part.ts";
import { readSecret } from "./queues/read-secret.ts";
import { createSources } from "./queues/sources/index.ts";
import { type TopicPublisher, topicPublisher } from "./queues/topics/topic-publisher.ts";
import { topicRoutes } from "./queues/topics/topic-routes.ts";
import { createTopics, type Topics } from "./queues/topics/topics.ts";
import { createTriggerServer } from "./server.ts";
import type { TriggersSettings } from "./settings.ts";
import { timersPart } from "./timers/timers-part.ts";
import { triggerMetrics } from "./trigger-metrics.ts";
import { startWatches } from "./watches/start-watches.ts";

export interface TriggerServiceOptions
  extends Pick<
    TriggersSettings,
    | "redisUrl"
    | "routerInternalUrl"
    | "workflowsUrl"
    | "executorUrl"
    | "deliveries"
    | "resultTtlMs"
    | "deadLetterTtlMs"
  > {
  readonly client: KubeClient;
  readonly keys: KeyRing;
  readonly log: Log;
  /** Where bodies and results over 256 KiB are. */
  readonly payloads: Payloads;
  /** Where its numbers can be read. */
  readonly registry?: MetricsRegistry;
}

export interface TriggerService {
  /** Begins to watch, to listen and, as soon as functions are known, to work. Resolves with the port. */
  start(listen: { readonly host: string; readonly port: number }): Promise<number>;
  notReady(): string | undefined;
  /** Gives all work back; what is under way may end within `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

const CONNECTIONS = 1_024;

/** What begins to work once functions are known. Each part is one function of `PartDeps`. */
const PARTS: readonly ((deps: PartDeps) => Part | Promise<Part>)[] = [
  timersPart,
  startWatches,
  queuesPart,
  versionHolds,
];

/** The trigger service: asynchronous invocations, timers, queues, watches. */
export function triggerService(options: TriggerServiceOptions): TriggerService {
  const { client, keys, log } = options;
  const functions = watchFunctionWorld(client, watchWarnings(log));
  const redis = redisConnection({ url: options.redisUrl, log, name: "triggers" });
  const { router, workflows, executor } = clientsOf(options);
  const registry = options.registry ?? metricsRegistry();
  const metrics = triggerMetrics(registry);
  const deliver = measuredDeliver(deliverer({ router, workflows }), metrics);
  const topics = createTopics(() => redis.client());
  const publisher = publisherOf(options, topics);
  const name = `${hostname()}-${randomUUID().slice(0, 8)}`;
  const invocations = createInvocations({
    redis,
    redisUrl: options.redisUrl,
    functions,
    deliver,
    publish: () => publisher.publish,
    log,
    metrics,
    worker: name,
    slots: options.deliveries,
    resultTtlMs: options.resultTtlMs,
    deadLetterTtlMs: options.deadLetterTtlMs,
    payloads: options.payloads,
  });
  const deps: PartDeps = {
    client,
    keys,
    log,
    name,
    redis,
    redisUrl: options.redisUrl,
    functions,
    accept: invocations.accept,
    invocations: invocations.journal,
    executor,
    withoutWorkflows: workflows === undefined,
    bury: invocations.bury,
    metrics,
    deliver,
  };
  registry.gaugeOf(
    { name: "isotope_triggers_delivering", help: "Asynchronous invocations that this replica delivers" },
    () => invocations.running(),
  );
  const parts: Part[] = [];
  const notReady = (): string | undefined =>
    functions.isSynced() ? undefined : "objects are not listed yet";
  const work = async (): Promise<void> => {
    await functions.synced;
    invocations.start();
    for (const start of PARTS)
      try {
        parts.push(await start(deps));
      } catch (error) {
        // The other parts work without it.
        log.error("Cannot begin to work on events", { part: start.name, error });
      }
  };
  const server = createTriggerServer({
    keys,
    log,
    notReady,
    routes: [
      (scope) => invocationRoutes(scope, invocations),
      (scope) => referenceDeadLetterRoutes(scope, invocations),
      (scope) => topicRoutes(scope, topics),
    ],
  });
  return {
    notReady,
    start: async ({ host, port }) => {
      functions.start();
      await server.listen({ host, port });
      void work();
      const address = server.server.address();
      return address !== null && typeof address === "object" ? address.port : 0;
    },
    stop: async (graceMs) => {
      await server.close();
      await Promise.all(parts.map((part) => part.stop(graceMs)));
      await invocations.stop(graceMs);
      await publisher.close();
      await Promise.all([functions.stop(), router.close(), workflows?.close(), executor.close()]);
      await redis.close();
    },
  };
}

const publisherOf = (
  { client, redisUrl, log }: TriggerServiceOptions,
  { append }: Pick<Topics, "append">,
): TopicPublisher =>
  topicPublisher({
    sources: createSources({ redisUrl: () => redisUrl }),
    append,
    readSecret: (namespace, secret) => readSecret(client, namespace, secret),
    log,
  });

function clientsOf({ keys, routerInternalUrl, workflowsUrl, executorUrl }: TriggerServiceOptions): Record<
  "router" | "executor",
  SignedClient
> & {
  readonly workflows: SignedClient | undefined;
} {
  return {
    router: signedClient({
      keys,
      origin: routerInternalUrl,
      audience: "router-internal",
      unavailable: "internal",
      connections: CONNECTIONS,
    }),
    workflows:
      workflowsUrl === ""
        ? undefined
        : signedClient({
            keys,
            origin: workflowsUrl,
            audience: WORKFLOWS_AUDIENCE,
            unavailable: "workflows_unavailable",
          }),
    executor: signedClient({
      keys,
      origin: executorUrl,
      audience: "executor",
      unavailable: "executor_unavailable",
    }),
  };
}
