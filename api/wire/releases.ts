import { z } from "zod";
import { CANARY_PHASES, CanaryDecision } from "../kinds/canary.ts";

/**
 * Releases that are under way or were, for the live view: `GET /v1/releases?namespace&name` of the operations API → `ReleaseList`.
 * Whoever may get canaryconfigs in the namespace may read it. Commands are given by `ANNOTATION_CANARY_COMMAND`.
 */
export const ReleaseQuery = z.object({
  namespace: z.string().max(253).optional(),
  /** Of the CanaryConfig. */
  name: z.string().max(253).optional(),
});
export type ReleaseQuery = z.infer<typeof ReleaseQuery>;

const count = z.int().nonnegative();

/** One second of one side, as all routers together counted it. */
export const ReleaseSecond = z.object({
  /** ISO 8601, its end. */
  at: z.string(),
  requests: count,
  errors: count,
  /** Absent without requests. */
  p50Ms: z.number().optional(),
  p95Ms: z.number().optional(),
  p99Ms: z.number().optional(),
});
export type ReleaseSecond = z.infer<typeof ReleaseSecond>;

export const ReleaseSideView = z.object({
  /** Function or version. */
  name: z.string(),
  function: z.string(),
  uid: z.string(),
  revision: z.string(),
  /** Percent that it shall have now. */
  weight: z.number(),
  /** Since the present step began. `errors` = what counts against it. */
  requests: count,
  errors: count,
  clientErrors: count,
  p50Ms: z.number().optional(),
  p95Ms: z.number().optional(),
  p99Ms: z.number().optional(),
  /** Requests per second over the last seconds. */
  perSecond: z.number(),
  /** The last 60 seconds at most, oldest first. */
  seconds: z.array(ReleaseSecond).max(60),
});
export type ReleaseSideView = z.infer<typeof ReleaseSideView>;

export const Release = z.object({
  namespace: z.string(),
  name: z.string(),
  mode: z.enum(["function-weights", "alias"]),
  trigger: z.string(),
  alias: z.string().optional(),
  phase: z.enum(CANARY_PHASES),
  /** As the reference system says it: pending, succeeded, failed or aborted. */
  status: z.string(),
  dryRun: z.boolean(),
  /** The route or alias has the weights below; false for the moment between a decision and that. */
  applied: z.boolean(),
  /** Index of the present step. */
  step: count,
  steps: z.array(z.object({ weight: z.number(), durationMs: z.number(), pause: z.boolean() })),
  startedAt: z.string().optional(),
  stepStartedAt: z.string().optional(),
  finishedAt: z.string().optional(),
  old: ReleaseSideView,
  new: ReleaseSideView,
  /** The last finding with its evidence; empty before the first. */
  sentence: z.string(),
  /** The newest last. */
  decisions: z.array(CanaryDecision),
});
export type Release = z.infer<typeof Release>;

export const ReleaseList = z.object({ releases: z.array(Release) });
export type ReleaseList = z.infer<typeof ReleaseList>;
