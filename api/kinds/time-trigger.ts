import { z } from "zod";
import type { Resource } from "./metadata.ts";
import { FunctionReference } from "./references.ts";
import { Conditions, int, int64, Time, text } from "./schema.ts";

/** Most times that are shown of the past and of the future. */
export const SHOWN_FIRES = 10;

export const CONCURRENCY_POLICIES = ["Allow", "Forbid", "Replace"] as const;
export const CATCH_UPS = ["none", "last", "all"] as const;

export const TimeTriggerSpec = z.object({
  cron: z.string().min(1).max(256).describe("Five or six fields, or @every"),
  functionref: FunctionReference,
  method: text(16).default("POST").optional(),
  subpath: text(1024).default("/").optional(),
  timeZone: text(64).optional().describe("IANA zone of the schedule, e.g. Europe/Berlin; default UTC"),
  suspend: z
    .boolean()
    .optional()
    .describe("Nothing fires while true; what would have fired is not made up for"),
  startTime: Time.optional().describe("Nothing fires before it; @every counts from it"),
  endTime: Time.optional().describe("Nothing fires at it or after it"),
  jitter: text(32)
    .optional()
    .describe("Duration, e.g. 30s: each fire is put off by a part of it, so that many do not come at once"),
  concurrencyPolicy: z
    .enum(CONCURRENCY_POLICIES)
    .optional()
    .describe(
      "While the call of the fire before still runs: Allow (default) calls nevertheless; Forbid waits for its end and starts the latest time late, unless startingDeadlineSeconds are over; Replace cancels it first",
    ),
  startingDeadlineSeconds: int(0, 31_536_000)
    .optional()
    .describe("A fire that is later than so many seconds is missed; default: none is too late"),
  catchUp: z
    .enum(CATCH_UPS)
    .optional()
    .describe("Fires that came due while the platform was down: none, the last (default), or all of them"),
  catchUpLimit: int(1, 1_000)
    .optional()
    .describe("Most fires made up for by catchUp all: the latest; default 100"),
  headers: z
    .record(z.string(), text(4_096))
    .meta({ maxProperties: 64 })
    .optional()
    .describe("Headers of the call"),
  body: text(65_536).optional().describe("Body of the call"),
});

/** What became of one time of the schedule, or of several that were missed. */
export const TimerFire = z.object({
  scheduledTime: Time,
  time: Time.describe("When it was decided"),
  outcome: z
    .enum(["Fired", "CaughtUp", "Skipped", "Missed", "Failed"])
    .describe(
      "Skipped: the call before still ran when a later time came, or for too long; Missed: too late; Failed: the call could not be accepted",
    ),
  invocationId: text(128).optional(),
  missed: int(1, 1_000_000_000).optional().describe("How many times were missed, up to scheduledTime"),
  message: text(1_024).optional(),
});
export type TimerFire = z.infer<typeof TimerFire>;

export const TimeTriggerStatus = z.object({
  observedGeneration: int64().optional(),
  conditions: Conditions.optional(),
  lastScheduleTime: Time.optional().describe("The latest time of the schedule that was decided on"),
  nextFires: z.array(Time).max(SHOWN_FIRES).optional(),
  recentFires: z.array(TimerFire).max(SHOWN_FIRES).optional().describe("The latest first"),
});
export type TimeTriggerStatus = z.infer<typeof TimeTriggerStatus>;

export type TimeTrigger = Resource<"TimeTrigger", z.infer<typeof TimeTriggerSpec>, TimeTriggerStatus>;
