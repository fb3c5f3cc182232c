import { z } from "zod";
import type { Resource } from "./metadata.ts";
import { Conditions, int, int64, ObjectName, Time, text } from "./schema.ts";

const percent = () => z.number().min(0).max(100);
const limitMs = () => z.number().min(0).max(86_400_000);
const ratio = () => z.number().min(1).max(1_000);

export const CanaryStep = z.object({
  weight: int(0, 100).describe("Share of the new side in percent"),
  duration: text(32).optional().describe("How long it lasts at least, e.g. 2m; default spec.duration"),
  pause: z.boolean().optional().describe("Go on only when somebody says `resume`"),
});
export type CanaryStep = z.infer<typeof CanaryStep>;

export const CanaryGates = z.object({
  maxErrorRate: percent()
    .optional()
    .describe("Percent of requests of the new side that may fail; default failurethreshold"),
  maxP50Ms: limitMs().optional(),
  maxP95Ms: limitMs().optional(),
  maxP99Ms: limitMs().optional(),
  maxErrorRateIncrease: percent()
    .optional()
    .describe("Percentage points by which the new side may fail more often than the old one; default 0.5"),
  maxP50Ratio: ratio().optional().describe("New median by old median; default 1.15"),
  maxP95Ratio: ratio().optional().describe("Default 1.25"),
  maxP99Ratio: ratio().optional().describe("Default 1.5"),
});
export type CanaryGates = z.infer<typeof CanaryGates>;

export const CanaryConfigSpec = z.object({
  trigger: ObjectName.describe(
    "HTTPTrigger whose traffic is split: by function-weights, or through an alias",
  ),
  newfunction: ObjectName.describe(
    "Function, or with an alias a version of it (or the function: the newest version)",
  ),
  oldfunction: ObjectName.describe(
    "Function, or with an alias a version of it (or the function: the alias' version)",
  ),
  weightincrement: int(0, 100).optional().describe("Percent per step; default 20"),
  duration: text(32).optional().describe("Time between steps, e.g. 2m"),
  failurethreshold: int(0, 100).optional().describe("Percent of failures that ends the release; default 10"),
  failureType: text(64).optional(),
  steps: z
    .array(CanaryStep)
    .max(50)
    .optional()
    .describe("Instead of weightincrement; 100 % comes after the last"),
  gates: CanaryGates.optional().describe("What the new side must keep to"),
  minSamples: int(1, 1_000_000)
    .optional()
    .describe("Requests that a side must have had in a step before it is judged; default 100"),
  maxHold: text(32)
    .optional()
    .describe(
      "How long a step may wait for requests or for a clear answer before it is taken back; default 1h",
    ),
  countClientErrors: z.boolean().optional().describe("4xx count as failures"),
  dryRun: z.boolean().optional().describe("Judge and tell; change no weight"),
  prewarm: z.boolean().optional().describe("Start pods before each step; default true"),
});
export type CanaryConfigSpec = z.infer<typeof CanaryConfigSpec>;

/**
 * `waiting`: for its trigger, functions or versions. `warming`: pods of the next weight are started. `progressing`: traffic is compared.
 * `holding`: the step's time is over, but there is no clear answer yet. `paused`: somebody said so, or the step asks for approval.
 */
export const CANARY_PHASES = [
  "waiting",
  "warming",
  "progressing",
  "holding",
  "paused",
  "succeeded",
  "failed",
  "aborted",
] as const;
export type CanaryPhase = (typeof CANARY_PHASES)[number];

const count = () => int64();
/** What one side did in a window; `buckets` as in `api/wire/counters.ts`, without the empty ones at the end. */
export const SideCounts = z.object({
  requests: count(),
  serverErrors: count(),
  clientErrors: count(),
  platformErrors: count(),
  buckets: z.array(count()).max(200),
});
export type SideCounts = z.infer<typeof SideCounts>;

/** Requests by latency in a stretch of time, as `SideCounts.buckets`. */
const Block = z.object({ old: z.array(count()).max(200), new: z.array(count()).max(200) });

const RouterBaseline = z.object({
  router: text(64),
  /** Cumulative counters of this router when they were last read. */
  old: SideCounts.optional(),
  new: SideCounts.optional(),
});

const Side = z.object({
  name: ObjectName,
  function: ObjectName,
  uid: text(64),
  revision: text(64),
});
export type CanarySide = z.infer<typeof Side>;

export const CanaryDecision = z.object({
  at: Time,
  action: z.enum([
    "start",
    "weight",
    "hold",
    "pause",
    "resume",
    "promote",
    "rollback",
    "abort",
    "retry",
    "restart",
    "window",
  ]),
  weight: int(0, 100),
  sentence: text(1024),
});
export type CanaryDecision = z.infer<typeof CanaryDecision>;

export const MAX_CANARY_DECISIONS = 50;

/** A release of the same CanaryConfig that has ended. */
export const PastRelease = z.object({
  old: ObjectName,
  new: ObjectName,
  phase: z.enum(CANARY_PHASES).describe("How it ended"),
  startedAt: Time,
  finishedAt: Time,
  sentence: text(1024).describe("Why"),
});
export type PastRelease = z.infer<typeof PastRelease>;

export const MAX_PAST_RELEASES = 20;

export const CanaryConfigStatus = z.object({
  status: text(32).optional().describe("pending, succeeded, failed or aborted"),
  conditions: Conditions.optional(),
  observedGeneration: int64().optional(),
  phase: z.enum(CANARY_PHASES).optional(),
  step: int(0, 1_000).optional().describe("Index of the present step"),
  steps: int(0, 1_000).optional().describe("How many there are"),
  weight: int(0, 100)
    .optional()
    .describe("Share of the new side in percent that the trigger or alias shall have"),
  applied: z.boolean().optional().describe("The weight was written to the trigger or alias"),
  alias: ObjectName.optional().describe("That is split, when the trigger goes through one"),
  old: Side.optional(),
  new: Side.optional(),
  startedAt: Time.optional(),
  stepStartedAt: Time.optional().describe("Since when the present window counts"),
  holdingSince: Time.optional(),
  warmingSince: Time.optional(),
  approval: z.enum(["awaited", "given"]).optional().describe("Of the present step, when it asks for one"),
  finishedAt: Time.optional(),
  looks: int(0, 1_000_000)
    .optional()
    .describe("How often the window was tested; each look spends a part of the error budget"),
  nextLookAt: count().optional().describe("Requests of the new side at which it is tested next"),
  counts: z
    .object({
      old: SideCounts,
      new: SideCounts,
      blocks: z
        .array(Block)
        .max(64)
        .optional()
        .describe("Latencies by stretches of time of equal length, the oldest first"),
      blockReadings: count().optional().describe("Readings of the routers in a block"),
      readings: count().optional().describe("Readings in all blocks"),
    })
    .optional()
    .describe("Both sides in the present window"),
  routers: z.array(RouterBaseline).max(64).optional(),
  readAt: Time.optional().describe("When the routers were last read"),
  sentence: text(1024).optional().describe("The last finding, with its evidence"),
  decisions: z.array(CanaryDecision).max(MAX_CANARY_DECISIONS).optional().describe("The newest last"),
  past: z
    .array(PastRelease)
    .max(MAX_PAST_RELEASES)
    .optional()
    .describe("Releases before the present one, the newest last"),
});
export type CanaryConfigStatus = z.infer<typeof CanaryConfigStatus>;
export type CanaryConfig = Resource<"CanaryConfig", CanaryConfigSpec, CanaryConfigStatus>;
