import { z } from "zod";
import { ConfigDuration, ConfigName, ConfigPath } from "./config-values.ts";
import { InvocationPolicySpec, RetryPolicy, TopicDestination } from "./kinds/function.ts";
import { HTTP_METHODS } from "./kinds/http-trigger.ts";
import { KubernetesWatchTriggerSpec, WATCH_EVENTS } from "./kinds/kubernetes-watch-trigger.ts";
import { TimeTriggerSpec } from "./kinds/time-trigger.ts";
import { MessageQueueTriggerSpec } from "./kinds/triggers.ts";
import { SOURCES, sourceConfigFaults, sourceTypeFault } from "./sources/index.ts";
import { topicsFault } from "./sources/topics-fault.ts";

/** What `export const config` of a function says of the events that call it. Limits are those of the kinds that come of it. */
const TriggerName = ConfigName.max(30)
  .optional()
  .describe(
    "The trigger is `<function>-<name>`; default: `<function>` for the first, else after what it waits for",
  );

const timer = TimeTriggerSpec.shape;

export const Timer = z.strictObject({
  name: TriggerName,
  schedule: timer.cron,
  timeZone: timer.timeZone,
  startTime: timer.startTime,
  endTime: timer.endTime,
  jitter: ConfigDuration.optional().describe(
    "Each fire is put off by a part of it, so that many do not come at once",
  ),
  suspend: timer.suspend,
  concurrencyPolicy: timer.concurrencyPolicy,
  startingDeadlineSeconds: timer.startingDeadlineSeconds,
  catchUp: timer.catchUp,
  catchUpLimit: timer.catchUpLimit,
  method: z.enum(HTTP_METHODS).optional().describe("Of the call; default POST"),
  path: ConfigPath.max(1_024).optional().describe("Of the call; default /"),
  headers: timer.headers,
  body: timer.body,
});

const Settings = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));

/** Settings of a source as a trigger's `metadata` has them: every value is text. */
export const settingTexts = (settings: z.infer<typeof Settings> = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)]));

const settingFaults = (type: string, settings: z.infer<typeof Settings> | undefined): string[] =>
  sourceConfigFaults(type, settingTexts(settings)).map((fault) => fault.replace(/^metadata:? /, ""));

const queue = MessageQueueTriggerSpec.shape;
const SOURCE_TYPES = SOURCES.map(({ type }) => type);

export const Queue = z
  .strictObject({
    name: TriggerName,
    type: z
      .enum(SOURCE_TYPES, { error: ({ input }) => sourceTypeFault(String(input)) })
      .describe("Kind of queue or stream: docs/queues.md lists them"),
    topic: queue.topic.describe("Topic, queue, stream or subject whose messages are taken"),
    respTopic: queue.respTopic.describe("Topic that gets the function's answers"),
    errorTopic: queue.errorTopic.describe(
      "Topic that gets messages whose retries are used up; default: the dead letters",
    ),
    maxRetries: queue.maxRetries.describe("Tries after the first; default 3"),
    contentType: queue.contentType.describe("Of messages that say none themselves; default application/json"),
    concurrency: queue.concurrency,
    minReplicas: queue.minReplicaCount,
    maxReplicas: queue.maxReplicaCount,
    pollingInterval: ConfigDuration.optional().describe(
      "With minReplicas 0: time between two looks for messages while the connection is let go of; default 30s",
    ),
    cooldownPeriod: ConfigDuration.optional().describe(
      "With minReplicas 0: time without a message before the connection is let go of; default 5m",
    ),
    secret: queue.secret,
    settings: Settings.optional().describe("Settings of the source: docs/sources has a page of each"),
  })
  .check(({ value, issues }) => {
    const refuse = (path: string[], message: string): void =>
      void issues.push({ code: "custom", input: value, path, message });
    for (const fault of settingFaults(value.type, value.settings)) refuse(["settings"], fault);
    const topics = topicsFault(value);
    if (topics !== undefined) refuse([], topics);
  });

const watch = KubernetesWatchTriggerSpec.shape;

export const Watch = z.strictObject({
  name: TriggerName,
  kind: z.string().min(1).max(63).describe("Kind of the objects, e.g. Pod"),
  apiVersion: watch.apiVersion.describe("Of the kind, e.g. apps/v1; default v1"),
  events: z.array(z.enum(WATCH_EVENTS)).min(1).optional().describe("Which changes count; default: all"),
  fields: watch.fields,
  selector: watch.selector.describe("Label selector, e.g. tier in (web, api)"),
  fieldSelector: watch.fieldselector,
  includeExisting: watch.includeExisting,
  serviceAccount: watch.serviceAccount,
});

/** Who is told of the end of an asynchronous call: a function by its name, or one of these. */
const AsyncDestination = z.union([
  ConfigName,
  z.strictObject({ function: ConfigName, alias: ConfigName.optional() }),
  z.strictObject({ workflow: ConfigName }),
  z
    .strictObject({
      topic: TopicDestination.shape.topic,
      type: TopicDestination.shape.messageQueueType.optional(),
      secret: TopicDestination.shape.secret,
      settings: Settings.optional(),
    })
    .check(({ value, issues }) => {
      for (const message of settingFaults(value.type ?? "statestore", value.settings))
        issues.push({ code: "custom", input: value, path: ["settings"], message });
    }),
]);

export const Async = z.strictObject({
  maxAttempts: RetryPolicy.shape.maxAttempts
    .unwrap()
    .min(1)
    .optional()
    .describe("Attempts at most; default 3"),
  backoff: ConfigDuration.optional().describe("Pause after the first failure; default 1s"),
  maxBackoff: ConfigDuration.optional().describe("Longest pause between two attempts; default 5m"),
  jitter: z.boolean().optional().describe("Whether half of each pause is random; default true"),
  maxAge: ConfigDuration.optional().describe("Given up after this; default 6h, at most 7 days"),
  concurrency: InvocationPolicySpec.shape.concurrency,
  onSuccess: AsyncDestination.optional().describe("Gets the answer of each call"),
  onFailure: AsyncDestination.optional().describe("Gets each call that failed for good"),
});
