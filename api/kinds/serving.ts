import { z } from "zod";
import { opaqueObject } from "./schema.ts";

/**
 * `Function.status.serving`: everything that the data plane needs to run the function's current revision, resolved and frozen by the
 * Function reconciler. It changes only when all of it can serve (package built, environment and references found), so a failing
 * build or a missing secret leaves the previous revision serving. Router and executor read this and never the spec.
 * Values of secrets and config maps are not in it, only their versions; the executor reads them when it specialises.
 */
export const ServingRef = z.object({
  namespace: z.string().max(63),
  name: z.string().max(253),
  mountPath: z.string().max(1024).optional(),
  resourceVersion: z.string().max(64),
  /** False: variables come from it, but the function does not get it as files. Absent = true. */
  mounted: z.boolean().optional(),
});

/** An environment variable whose value is given, or comes from a key of a secret or config map. */
export const ServingEnv = z.object({
  name: z.string().max(256),
  value: z.string().max(32_768).optional(),
  secret: z
    .object({ name: z.string().max(253), key: z.string().max(253), optional: z.boolean().optional() })
    .optional(),
  configMap: z
    .object({ name: z.string().max(253), key: z.string().max(253), optional: z.boolean().optional() })
    .optional(),
});

/** A whole secret or config map as variables (`envFrom`). */
export const ServingEnvFrom = z.object({
  prefix: z.string().max(256).optional(),
  secret: z.object({ name: z.string().max(253), optional: z.boolean().optional() }).optional(),
  configMap: z.object({ name: z.string().max(253), optional: z.boolean().optional() }).optional(),
});

export const Serving = z.object({
  /** Hash (first 16 hex digits of sha256 over the canonical JSON of the rest, without `generation`, `since` and `scale`). */
  revision: z.string().max(64),
  /** Function generation that this was resolved from. */
  generation: z.int().min(0).max(Number.MAX_SAFE_INTEGER),
  package: z.object({
    name: z.string().max(253),
    digest: z.string().max(64),
    sizeBytes: z
      .int()
      .min(0)
      .max(2 ** 40),
  }),
  functionName: z.string().max(256),
  environment: z.object({
    name: z.string().max(63),
    uid: z.string().max(64),
    image: z.string().max(1024),
    version: z.int().min(1).max(3),
    /** A foreign image, specialised through the fetcher beside it. Absent = our own, specialised directly. */
    contract: z.enum(["sidecar", "reference"]).optional(),
    /** Foreign images: zip archives are handed over as they are; one pod takes any number of functions. */
    keepArchive: z.boolean().optional(),
    shared: z.boolean().optional(),
  }),
  executorType: z.string().max(32),
  env: z.array(ServingEnv).max(256),
  envFrom: z.array(ServingEnvFrom).max(64),
  /** All secrets and config maps whose content the revision depends on, files and variables alike. */
  secrets: z.array(ServingRef).max(64),
  configMaps: z.array(ServingRef).max(64),
  limits: z.object({
    concurrency: z.int().min(1).max(100_000),
    requestsPerPod: z.int().min(1).max(100_000),
    onceOnly: z.boolean(),
    retainPods: z.int().min(0).max(100_000),
    timeoutMs: z.int().min(0).max(86_400_000),
    idleTimeoutMs: z.int().min(0).max(86_400_000),
    specializationTimeoutMs: z.int().min(1).max(86_400_000),
    maxBodyBytes: z
      .int()
      .min(1)
      .max(2 ** 40),
    /** Present when the function streams: no total timeout, an idle timeout instead; 0 = none. */
    streaming: z
      .object({
        idleTimeoutMs: z.int().min(0).max(86_400_000),
        maxDurationMs: z
          .int()
          .min(0)
          .max(2 ** 40),
      })
      .optional(),
  }),
  /** How many pods there may be and what decides it. A change of it makes no new revision. Absent for poolmgr. */
  scale: z
    .object({
      minPods: z.int().min(0).max(100_000),
      maxPods: z.int().min(1).max(100_000),
      /** Requests per second that one pod is to have. */
      requestsPerSecond: z.int().min(1).max(1_000_000).optional(),
      /** newdeploy and container: for their HorizontalPodAutoscaler, as in autoscaling/v2. */
      metrics: z.array(opaqueObject("autoscaling/v2 MetricSpec")).max(32).optional(),
      behavior: opaqueObject("autoscaling/v2 HorizontalPodAutoscalerBehavior").optional(),
    })
    .optional(),
  /** newdeploy and container: what the function itself says about its pods. */
  pod: z
    .object({
      spec: opaqueObject("corev1.PodSpec").optional(),
      resources: opaqueObject("corev1.ResourceRequirements").optional(),
      /** container: where it takes requests. */
      port: z.int().min(1).max(65_535).optional(),
    })
    .optional(),
  /** When this revision began to serve. */
  since: z.string().max(64),
});
export type Serving = z.infer<typeof Serving>;
