import { z } from "zod";
import { RetryPolicy } from "./function.ts";
import type { Resource } from "./metadata.ts";
import { PackageRef } from "./references.ts";
import {
  anyJson,
  Conditions,
  int,
  int32,
  int64,
  listSet,
  ObjectName,
  opaqueObject,
  Time,
  text,
  withRules,
} from "./schema.ts";

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

/** What a Task calls: manifests of the reference system leave the type out. */
const TaskFunction = withRules(
  z.object({
    type: z.enum(["name", "function-weights"]).default("name").optional(),
    name: ObjectName.describe("Function in the same namespace"),
    alias: ObjectName.optional().describe("FunctionAlias: a run picks one of its versions when it starts"),
    version: ObjectName.optional().describe("FunctionVersion to call"),
    functionweights: z
      .record(z.string(), int(0, 100))
      .meta({ maxProperties: 16 })
      .optional()
      .describe("Not allowed on a Task: name an alias instead"),
  }),
  [{ rule: "!(has(self.alias) && has(self.version))", message: "alias and version exclude each other" }],
);

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
  function: TaskFunction.optional(),
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

export const WorkflowSpec = withRules(
  z.object({
    startAt: z.string().min(1).max(128).optional().describe("Name of the state to begin with"),
    states: z.record(z.string(), State).meta({ maxProperties: 100 }).optional(),
    package: PackageRef.optional().describe(
      "Package whose module exports the workflow, instead of startAt and states",
    ),
    export: z
      .string()
      .min(1)
      .max(128)
      .optional()
      .describe("Name of the export that is the workflow; default `default`"),
    timeout: text(32).optional(),
    defaultRetry: RetryPolicy.optional(),
    historyRetention: z.object({ maxAge: text(32).optional(), maxCount: int32().optional() }).optional(),
  }),
  [
    {
      rule: "has(self.__package__) ? !has(self.startAt) && !has(self.states) : has(self.startAt) && has(self.states)",
      message: "exactly one of package and (startAt with states)",
    },
    { rule: "!has(self.export) || has(self.__package__)", message: "export needs package" },
    {
      rule: "!has(self.defaultRetry) || !has(self.__package__)",
      message: "defaultRetry is for startAt and states: a package's steps say it in fn()",
    },
  ],
);

const Digest = z
  .string()
  .max(64)
  .regex(/^[0-9a-f]{64}$/);

export const WorkflowStatus = z.object({
  observedGeneration: int64().optional(),
  conditions: Conditions.optional(),
  definition: z
    .object({
      digest: Digest.describe(
        "sha256 of the definition, under which its archive is stored; what new runs pin",
      ),
      generation: int64().describe("Generation of the Workflow that it was made from"),
      packageDigest: text(128).optional().describe("Archive that the definition was made from"),
      functions: z.array(text(253)).max(1024).describe("Functions that it calls"),
      events: z.array(text(256)).max(1024).optional().describe("Events that may be sent to its runs"),
    })
    .optional()
    .describe("What new runs are made of"),
  heldDefinitions: listSet(Digest, 256)
    .optional()
    .describe("Older definitions that unfinished runs pin: their archives are kept"),
});
export type WorkflowStatus = z.infer<typeof WorkflowStatus>;

export const WorkflowRunSpec = z.object({
  workflowRef: ObjectName,
  input: anyJson("Input of the run").optional(),
  workflowGeneration: int64().optional(),
});
export const WorkflowRunStatus = z.object({
  observedGeneration: int64().optional(),
  conditions: Conditions.optional(),
  phase: z.enum(["Pending", "Running", "Succeeded", "Failed", "Cancelled", "TimedOut"]).optional(),
  workflowGeneration: int64().optional().describe("Generation of the Workflow that the run is made of"),
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
export type Workflow = Resource<"Workflow", WorkflowSpec, WorkflowStatus>;
export type WorkflowRunSpec = z.infer<typeof WorkflowRunSpec>;
export type WorkflowRunStatus = z.infer<typeof WorkflowRunStatus>;
export type WorkflowRun = Resource<"WorkflowRun", WorkflowRunSpec, WorkflowRunStatus>;
