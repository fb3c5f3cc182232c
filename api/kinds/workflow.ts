import { z } from "zod";
import { RetryPolicy } from "./function.ts";
import type { Resource } from "./metadata.ts";
import { FunctionReference } from "./references.ts";
import { anyJson, Conditions, int, int32, int64, ObjectName, opaqueObject, text, Time } from "./schema.ts";
import type { PlainStatus } from "./triggers.ts";

const numeric = () => z.any().meta({ "x-kubernetes-int-or-string": true }).optional();

const Choice = z.object({
  and: z.array(opaqueObject("A nested condition")).max(16).optional(),
  or: z.array(opaqueObject("A nested condition")).max(16).optional(),
  not: opaqueObject("A nested condition").optional(),
  booleanEquals: z.boolean().optional(),
  isNull: z.boolean().optional(),
  isPresent: z.boolean().optional(),
  numericEquals: numeric(),
  numericGreaterThan: numeric(),
  numericLessThan: numeric(),
  stringEquals: text(4096).optional(),
  variable: text(1024).optional(),
  next: text(128),
});

const State = z.object({
  type: z.enum(["Task", "Choice", "Parallel", "Map", "Wait", "Succeed", "Fail"]),
  branches: z.array(opaqueObject("A nested workflow: startAt and states")).max(10).optional(),
  catch: z
    .array(z.object({ errorType: text(128), next: text(128), resultPath: text(1024).optional() }))
    .max(32)
    .optional(),
  choices: z.array(Choice).max(64).optional(),
  default: text(128).optional(),
  duration: text(64).optional(),
  end: z.boolean().optional(),
  function: FunctionReference.optional(),
  inputPath: text(1024).optional(),
  itemsPath: text(1024).optional(),
  iterator: opaqueObject("The nested workflow of a Map").optional(),
  maxConcurrency: int32().optional(),
  next: text(128).optional(),
  outputPath: text(1024).optional(),
  resultPath: text(1024).optional(),
  retry: RetryPolicy.optional(),
  timeout: text(32).optional(),
  cause: text(1024).optional(),
  error: text(256).optional(),
});

export const WorkflowSpec = z.object({
  startAt: z.string().min(1).max(128),
  states: z.record(z.string(), State).meta({ maxProperties: 100 }),
  timeout: text(32).optional(),
  defaultRetry: RetryPolicy.optional(),
  historyRetention: z.object({ maxAge: text(32).optional(), maxCount: int32().optional() }).optional(),
});

export const WorkflowRunSpec = z.object({
  workflowRef: ObjectName,
  input: anyJson("Input of the run").optional(),
  workflowGeneration: int64().optional(),
});
export const WorkflowRunStatus = z.object({
  observedGeneration: int64().optional(),
  conditions: Conditions.optional(),
  phase: z.enum(["Pending", "Running", "Succeeded", "Failed", "Cancelled", "TimedOut"]).optional(),
  activeStates: z.array(text(128)).max(128).optional(),
  cause: text(1024).optional(),
  errorType: text(256).optional(),
  startedAt: Time.optional(),
  finishedAt: Time.optional(),
  output: anyJson("Output of the run").optional(),
  outputRef: text(1024).optional(),
  recentEvents: z
    .array(
      z.object({
        at: Time,
        seq: int64(),
        type: text(128),
        state: text(128).optional(),
        attempt: int(0, 100_000).optional(),
        note: text(4096).optional(),
      }),
    )
    .max(64)
    .optional(),
});

export type WorkflowSpec = z.infer<typeof WorkflowSpec>;
export type Workflow = Resource<"Workflow", WorkflowSpec, PlainStatus>;
export type WorkflowRunSpec = z.infer<typeof WorkflowRunSpec>;
export type WorkflowRunStatus = z.infer<typeof WorkflowRunStatus>;
export type WorkflowRun = Resource<"WorkflowRun", WorkflowRunSpec, WorkflowRunStatus>;
