import type { MessageQueueTrigger } from "../../api/kinds/index.ts";
import type { Deliver } from "../../engine/triggers/delivery/event.ts";
import type { Part } from "../../engine/triggers/part.ts";
import { type QueuesDeps, queuesPart } from "../../engine/triggers/queues/queues-part.ts";
import { triggerMetrics } from "../../engine/triggers/trigger-metrics.ts";
import { findCondition } from "../../kube/conditions.ts";
import { SECRETS } from "../../kube/core.ts";
import { watchFunctionWorld } from "../../kube/function-world.ts";
import { FUNCTIONS, MESSAGE_QUEUE_TRIGGERS } from "../../kube/kinds.ts";
import { processLog } from "../../net/log.ts";
import { metricsRegistry } from "../../net/metrics.ts";
import { redisConnection } from "../../net/redis.ts";
import { fn } from "../controller/objects.ts";
import { startKube } from "../controller/platform.ts";
import { until } from "../until.ts";

export interface ServedMessage {
  /** The replica. */
  readonly by: string;
  readonly trigger: string;
  readonly text: string;
  /** Of the event. */
  readonly id: string;
}

/** What takes the messages of triggers, in some replicas, with an API server of its own and the functions `hello`. */
export interface QueuesService {
  readonly delivered: readonly ServedMessage[];
  create(
    name: string,
    spec: Omit<MessageQueueTrigger["spec"], "secret" | "functionref">,
    secret?: Readonly<Record<string, string>>,
  ): Promise<void>;
  statusOf(name: string): Promise<MessageQueueTrigger["status"]>;
  /** Waits until the condition `Ready` of a trigger has this reason. */
  untilReady(name: string, reason: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startQueuesService(options: {
  readonly redisUrl: string;
  readonly replicas: readonly string[];
  /** Before a message counts as delivered. */
  readonly work: (message: ServedMessage) => Promise<void>;
  /** Messages that the function answers with 422. */
  readonly refuses?: (message: ServedMessage) => boolean;
  readonly bury?: QueuesDeps["bury"];
}): Promise<QueuesService> {
  const { redisUrl, replicas, work } = options;
  const log = processLog("test", { level: "error" });
  const kube = await startKube();
  const redis = redisConnection({ url: redisUrl, log, name: "test" });
  const functions = watchFunctionWorld(kube.client, () => undefined);
  const delivered: ServedMessage[] = [];
  const parts: Part[] = [];
  const deliverer =
    (by: string): Deliver =>
    async (_target, event) => {
      const { id } = event;
      const text = Buffer.from(event.body).toString("utf8");
      const message = { by, trigger: id.split("/")[1] ?? "", text, id };
      await work(message);
      if (options.refuses?.(message))
        return { kind: "rejected", failure: { status: 422, reason: "function_error", message: "unfit" } };
      delivered.push(message);
      return { kind: "done", status: 200, headers: {}, body: Buffer.from(`${text}!`) };
    };
  const statusOf = async (name: string) =>
    (await kube.client.find(MESSAGE_QUEUE_TRIGGERS, { namespace: "default", name }))?.status;
  await redis.ready(60_000);
  functions.start();
  await functions.synced;
  await kube.client.create(FUNCTIONS, fn("hello"));
  await until("the function is known", () => functions.function("default", "hello") !== undefined);
  for (const name of replicas) {
    const deps: QueuesDeps = {
      client: kube.client,
      log,
      name,
      redis,
      redisUrl,
      functions,
      deliver: deliverer(name),
      bury: options.bury ?? (() => Promise.reject(new Error("Nothing is to be buried here"))),
      metrics: triggerMetrics(metricsRegistry()),
    };
    parts.push(queuesPart(deps, { roundMs: 200, lookMs: 500 }));
  }
  return {
    delivered,
    create: async (name, spec, secret = {}) => {
      const metadata = { namespace: "default", name };
      const data = Object.entries(secret).map(([key, text]) => [key, Buffer.from(text).toString("base64")]);
      if (data.length > 0)
        await kube.client.create(SECRETS, {
          apiVersion: "v1",
          kind: "Secret",
          metadata,
          data: Object.fromEntries(data),
        });
      await kube.client.create(MESSAGE_QUEUE_TRIGGERS, {
        apiVersion: "fission.io/v1",
        kind: "MessageQueueTrigger",
        metadata,
        spec: {
          ...spec,
          functionref: { type: "name", name: "hello" },
          ...(data.length > 0 ? { secret: name } : {}),
        },
      });
    },
    statusOf,
    untilReady: (name, reason) =>
      until(`trigger ${name} is ${reason}`, async () => {
        const status = await statusOf(name);
        return findCondition(status?.conditions, "Ready")?.reason === reason;
      }),
    stop: async () => {
      await Promise.all(parts.map((part) => part.stop(1_000)));
      await functions.stop();
      await redis.close();
      await kube.stop();
    },
  };
}
