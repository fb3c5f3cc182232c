import { z } from "zod";
import type { Resource } from "./metadata.ts";
import { PodSpec } from "./pod-spec.ts";
import { FunctionReference } from "./references.ts";
import { Conditions, int, int32, int64, StringMap, Time, text } from "./schema.ts";

/** Status of a kind that carries nothing but conditions. */
export const PlainStatus = z.object({
  observedGeneration: int64().optional(),
  conditions: Conditions.optional(),
});
export type PlainStatus = z.infer<typeof PlainStatus>;

export const MessageQueueTriggerSpec = z.object({
  functionref: FunctionReference.optional(),
  messageQueueType: text(64)
    .optional()
    .describe("Kind of queue or stream; default kafka: docs/queues.md lists them"),
  topic: z.string().min(1).max(249),
  respTopic: text(249).optional(),
  errorTopic: text(249).optional(),
  maxRetries: int(0, 1000).optional(),
  contentType: text(256).optional(),
  pollingInterval: int32()
    .optional()
    .describe(
      "With `minReplicaCount` 0: seconds between two looks for messages while the connection is let go of. Default 30",
    ),
  cooldownPeriod: int32()
    .optional()
    .describe(
      "With `minReplicaCount` 0: seconds without a message before the connection is let go of. Default 300",
    ),
  minReplicaCount: int32()
    .optional()
    .describe("0: the connection to the broker is let go of while no messages come"),
  maxReplicaCount: int32()
    .optional()
    .describe(
      "Most replicas of the trigger service that take messages side by side (up to 16), each `concurrency` at once, where the source shares them out: kafka, nats-jetstream without order, azure-storage-queue. Default 1",
    ),
  metadata: StringMap.optional().describe("Settings of the source: docs/sources has a page of each"),
  secret: text(253).optional().describe("Secret of the same namespace with the credentials for the broker"),
  mqtkind: z.enum(["", "fission", "keda"]).optional(),
  podspec: PodSpec.optional(),
  concurrency: int(1, 1000)
    .optional()
    .describe("Messages that are delivered at once; of an ordered lane it is one at a time. Default 32"),
});

/** What a trigger's consumer has done since it began, as its replica last said. */
export const MessageQueueTriggerStatus = z.object({
  ...PlainStatus.shape,
  connected: z.boolean().optional().describe("Whether its consumer is connected to the broker"),
  lag: int64().optional().describe("Messages that nobody has dealt with yet"),
  delivered: int64().optional().describe("Messages that were delivered since the consumer began"),
  deadLettered: int64()
    .optional()
    .describe("Messages that went to the error topic or the dead letters since the consumer began"),
  lastMessageTime: Time.optional(),
  lastError: text(2048).optional().describe("Of the last delivery that failed, until one succeeds"),
});
export type MessageQueueTrigger = Resource<
  "MessageQueueTrigger",
  z.infer<typeof MessageQueueTriggerSpec>,
  z.infer<typeof MessageQueueTriggerStatus>
>;
