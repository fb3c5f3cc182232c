import { z } from "zod";
import { SOURCES } from "../sources/index.ts";
import type { Resource } from "./metadata.ts";
import { PodSpec } from "./pod-spec.ts";
import {
  ConfigMapReference,
  EnvFromSource,
  EnvironmentReference,
  EnvVar,
  FunctionReference,
  PackageRef,
  ResourceRequirements,
  SecretReference,
} from "./references.ts";
import {
  anyJson,
  Conditions,
  int,
  int64,
  listMap,
  opaqueObject,
  StringMap,
  text,
  withRules,
} from "./schema.ts";
import { Serving } from "./serving.ts";

/** Defaults of Function.spec where a field is absent or 0. */
export const FUNCTION_DEFAULTS = {
  functionTimeoutS: 60,
  idleTimeoutS: 120,
  concurrency: 500,
  requestsPerPod: 1,
  /** newdeploy and container: in the reference system their pods take any number. */
  requestsPerDeployedPod: 1_000,
  specializationTimeoutS: 120,
  maxBodyBytes: 128 * 1024 * 1024,
  /** Nobody holds the body of a function that streams, so it may be as large as it likes. */
  streamingMaxBodyBytes: 2 ** 40,
} as const;

export const EXECUTOR_TYPES = ["poolmgr", "newdeploy", "container", "auto"] as const;

const ExecutionStrategy = withRules(
  z.object({
    ExecutorType: z
      .enum(["", ...EXECUTOR_TYPES])
      .optional()
      .describe("How pods are had: poolmgr (default), newdeploy, container, auto"),
    MinScale: int(0, 100_000).optional().describe("Fewest pods (auto, newdeploy, container); default 0"),
    MaxScale: int(0, 100_000)
      .optional()
      .describe("Most pods; default concurrency (auto), else MinScale, at least 1"),
    TargetCPUPercent: int(0, 100).optional().describe("Deprecated: use hpaMetrics"),
    TargetRequestsPerSecond: int(0, 1_000_000)
      .optional()
      .describe("Requests per second that one pod is to have (auto, newdeploy, container); 0 = not used"),
    SpecializationTimeout: int(0, 86_400)
      .optional()
      .describe("Seconds that loading the code may take; default 120"),
    hpaMetrics: z.array(opaqueObject("autoscaling/v2 MetricSpec")).max(32).optional(),
    hpaBehavior: opaqueObject("autoscaling/v2 HorizontalPodAutoscalerBehavior").optional(),
  }),
  [
    {
      rule: "!has(self.MinScale) || !has(self.MaxScale) || self.MaxScale == 0 || self.MinScale <= self.MaxScale",
      message: "MinScale must not be greater than MaxScale",
    },
    {
      rule: "!has(self.ExecutorType) || !(self.ExecutorType in ['newdeploy', 'container']) || !has(self.MaxScale) || self.MaxScale > 0",
      message: "MaxScale must be greater than 0 for newdeploy and container",
    },
  ],
);

export const TopicDestination = z.object({
  messageQueueType: z.enum(SOURCES.map(({ type }) => type)).describe("Kind of queue or stream"),
  topic: z
    .string()
    .max(249)
    .regex(/^[a-zA-Z0-9._-]+$/),
  metadata: StringMap.optional().describe(
    "Settings of the kind, such as bootstrapServers of kafka: docs/sources has a page of each",
  ),
  secret: text(253).optional().describe("Secret of the same namespace with the credentials for the broker"),
});
const Destination = withRules(
  z.object({ function: FunctionReference.optional(), topic: TopicDestination.optional() }),
  [{ rule: "has(self.__function__) != has(self.topic)", message: "exactly one of function and topic" }],
);

export const RetryPolicy = z.object({
  maxAttempts: int(0, 100).optional(),
  backoffBase: text(32).optional().describe("Duration, e.g. 1s"),
  backoffCap: text(32).optional().describe("Duration, e.g. 5m"),
  jitter: z.boolean().optional(),
});

export const InvocationPolicySpec = z.object({
  retry: RetryPolicy.optional(),
  maxAge: text(32).optional(),
  concurrency: int(1, 10_000)
    .optional()
    .describe("Asynchronous calls that are delivered at once; default 100"),
  onSuccess: Destination.optional(),
  onFailure: Destination.optional(),
});

export const FunctionSpec = withRules(
  z.object({
    environment: EnvironmentReference.describe("Environment that runs the function"),
    package: z.object({
      packageref: PackageRef.optional().describe("Package that holds the code"),
      functionName: text(256)
        .optional()
        .describe("Entry point; language defined. Deno: `file`, `file.export` or `.export`"),
    }),
    secrets: listMap(SecretReference, "name", 32)
      .optional()
      .describe("Secrets given to the function as files"),
    configmaps: listMap(ConfigMapReference, "name", 32)
      .optional()
      .describe("Config maps given to the function as files"),
    env: z.array(EnvVar).max(128).optional().describe("Environment variables"),
    envFrom: z
      .array(EnvFromSource)
      .max(32)
      .optional()
      .describe("Whole secrets or config maps as environment variables"),
    resources: ResourceRequirements.optional(),
    InvokeStrategy: z.object({
      StrategyType: z.enum(["", "execution"]).optional(),
      ExecutionStrategy: ExecutionStrategy.optional(),
    }),
    functionTimeout: int(0, 86_400).optional().describe("Seconds per attempt; default 60; then 504"),
    idletimeout: int(0, 86_400)
      .optional()
      .describe("Seconds without a request after which a pod is released; default 120"),
    concurrency: int(0, 100_000).optional().describe("Most pods at once (poolmgr, auto); default 500"),
    requestsPerPod: int(0, 100_000)
      .optional()
      .describe("Requests in flight per pod; default 1, for newdeploy and container 1000"),
    onceOnly: z.boolean().optional().describe("One request per pod, then the pod is discarded"),
    retainPods: int(0, 100_000).optional().describe("Idle pods that are kept"),
    streaming: z
      .object({
        protocol: z.enum(["auto", "sse", "chunked", "websocket"]).default("auto"),
        idleTimeoutSeconds: int(0, 86_400)
          .optional()
          .describe("Seconds of silence that end the stream; 0 = 60"),
        maxDurationSeconds: int(0, 31_536_000).optional().describe("Longest stream in seconds; 0 = no limit"),
      })
      .optional()
      .describe("Present: answers stream, functionTimeout does not limit them"),
    tool: z
      .object({
        description: text(4096).optional(),
        inputSchema: anyJson("JSON schema of the tool's input").optional(),
        toolName: z
          .string()
          .max(64)
          .regex(/^[a-zA-Z0-9_-]{1,64}$/)
          .optional(),
        alias: text(63).optional(),
      })
      .optional()
      .describe("Offer the function as a tool"),
    state: z
      .object({
        keyspace: z
          .string()
          .max(63)
          .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/)
          .optional(),
        defaultTTL: text(32).optional(),
        maxValueBytes: int64().optional(),
        maxKeys: int64().optional(),
        backend: text(64).optional(),
        sticky: z.object({ source: z.enum(["header", "queryparam"]), name: text(256) }).optional(),
      })
      .optional()
      .describe("Keyed state"),
    invocation: InvocationPolicySpec.optional().describe("Policy of asynchronous calls"),
    provisionedConcurrency: z
      .object({
        target: int(1, 100_000),
        windows: listMap(
          z.object({
            name: text(63),
            start: text(128).describe("Cron expression; CRON_TZ= allowed"),
            duration: z
              .string()
              .max(32)
              .regex(/^[0-9]+(ns|us|µs|ms|s|m|h)$/),
            target: int(0, 100_000),
          }),
          "name",
          32,
        ).optional(),
      })
      .optional()
      .describe("Pods that are always warm (poolmgr)"),
    versioning: z
      .object({ mode: z.enum(["auto", "manual"]).default("auto"), retain: int(1, 1000).optional() })
      .optional()
      .describe("Publish policy; absent = off"),
    podspec: PodSpec.optional().describe("Merged into the pod; required for the container executor"),
  }),
  [
    {
      rule: "!has(self.provisionedConcurrency) || !has(self.InvokeStrategy.ExecutionStrategy) || !has(self.InvokeStrategy.ExecutionStrategy.ExecutorType) || self.InvokeStrategy.ExecutionStrategy.ExecutorType in ['', 'poolmgr', 'auto']",
      message: "provisionedConcurrency needs the poolmgr executor",
    },
    {
      rule: "!has(self.InvokeStrategy.ExecutionStrategy) || !has(self.InvokeStrategy.ExecutionStrategy.ExecutorType) || self.InvokeStrategy.ExecutionStrategy.ExecutorType != 'container' || has(self.podspec)",
      message: "the container executor needs podspec",
    },
    {
      rule: "!has(self.onceOnly) || !self.onceOnly || !has(self.requestsPerPod) || self.requestsPerPod <= 1",
      message: "onceOnly allows one request per pod: requestsPerPod must be 1",
    },
    {
      rule: "!has(self.env) || self.env.all(a, self.env.exists_one(b, a.name == b.name))",
      message: "names in env must be unique",
    },
  ],
);
export type FunctionSpec = z.infer<typeof FunctionSpec>;

export const FunctionStatus = z.object({
  observedGeneration: int64().optional(),
  conditions: Conditions.optional(),
  provisionedReady: int(0, 100_000).optional(),
  provisionedTarget: int(0, 100_000).optional(),
  provisionedSpecTarget: int(0, 100_000).optional(),
  serving: Serving.optional().describe("The revision that serves now"),
});
export type FunctionStatus = z.infer<typeof FunctionStatus>;
export type Function = Resource<"Function", FunctionSpec, FunctionStatus>;
