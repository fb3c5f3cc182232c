import { z } from "zod";
import type { Resource } from "./metadata.ts";
import { PodSpec } from "./pod-spec.ts";
import { FunctionReference } from "./references.ts";
import { Conditions, int, int32, int64, Namespace, StringMap, text } from "./schema.ts";

/** Status of a kind that carries nothing but conditions. */
export const PlainStatus = z.object({
  observedGeneration: int64().optional(),
  conditions: Conditions.optional(),
});
export type PlainStatus = z.infer<typeof PlainStatus>;

export const TimeTriggerSpec = z.object({
  cron: z.string().min(1).max(256).describe("Five or six fields, or @every"),
  functionref: FunctionReference,
  method: text(16).default("POST").optional(),
  subpath: text(1024).default("/").optional(),
});
export type TimeTrigger = Resource<"TimeTrigger", z.infer<typeof TimeTriggerSpec>, PlainStatus>;

export const MessageQueueTriggerSpec = z.object({
  functionref: FunctionReference.optional(),
  messageQueueType: text(64).optional().describe("kafka, statestore, redis, rabbitmq …"),
  topic: z.string().min(1).max(249),
  respTopic: text(249).optional(),
  errorTopic: text(249).optional(),
  maxRetries: int(0, 1000).optional(),
  contentType: text(256).optional(),
  pollingInterval: int32().optional(),
  cooldownPeriod: int32().optional(),
  minReplicaCount: int32().optional(),
  maxReplicaCount: int32().optional(),
  metadata: StringMap.optional(),
  secret: text(253).optional(),
  mqtkind: z.enum(["", "fission", "keda"]).optional(),
  podspec: PodSpec.optional(),
});

export const KubernetesWatchTriggerSpec = z.object({
  namespace: Namespace.optional().describe("Must be the trigger's own namespace"),
  type: text(64).describe("POD, SERVICE, REPLICATIONCONTROLLER or JOB"),
  labelselector: StringMap.optional(),
  functionref: FunctionReference,
});
