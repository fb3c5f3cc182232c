import { z } from "zod";

/**
 * The workflow service's API (signed calls, JSON); the operations API passes the same paths on for authenticated callers. Errors are `ErrorBody`.
 *
 *   POST /v1/runs                              `StartRun` → 201 `RunView`; 200 when a run of that id and the same start is there already
 *   GET  /v1/runs?<RunQuery>                   `RunList`, newest first
 *   GET  /v1/runs/<ns>/<id>                    `RunView`: state as stored, whoever works on it
 *   GET  /v1/runs/<ns>/<id>/history?<HistoryQuery>  `HistoryPage`
 *   GET  /v1/runs/<ns>/<id>/stream             Server-sent events: `entry` (`HistoryLine`, id = its seq; `Last-Event-ID` goes on after it), `run`
 *                                              (`RunView`, whenever it changed), `end` once it has ended; a comment every 15 s
 *   GET  /v1/runs/<ns>/<id>/graph?format=mermaid|svg   the machine, coloured by the run
 *   GET  /v1/runs/<ns>/<id>/wait?timeoutMs     200 `RunView` once it has ended, 202 `RunView` when it has not by then
 *   POST /v1/runs/<ns>/<id>/events             `SendEvent` → 202 `EventAccepted`; 409 `event_refused`, 422 `event_invalid`
 *   POST /v1/runs/<ns>/<id>/cancel             `EndRun` → 202 `RunView`: compensations and `parentClose` take place
 *   POST /v1/runs/<ns>/<id>/terminate          `EndRun` → 202 `RunView`: at once, nothing else runs
 *   POST /v1/runs/<ns>/<id>/retry              → 202 `RunView`: goes on from the step that failed
 *   POST /v1/callbacks/<token>                 `CallbackResult` → 202; 404 `callback_unknown`, 409 `callback_used`
 *   POST /v1/callbacks/<token>/heartbeat       → 202
 *   GET  /v1/workflows/<ns>/<name>/graph?format=mermaid|svg
 *   POST /v1/definitions/check                 `CheckDefinition` → `DefinitionCheck`
 */
export const WORKFLOWS_AUDIENCE = "workflows";

export const RUN_STATUSES = [
  "running",
  "succeeded",
  "failed",
  "cancelled",
  "timed-out",
  "terminated",
] as const;

type JsonValue = z.core.util.JSONType;
/** Any JSON; bodies come out of `JSON.parse`, so that nothing else can be in them. */
const json = z.custom<JsonValue>((value) => value !== undefined);
const namespace = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "must be the name of a namespace");
const workflowName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, "must be the name of a Workflow");
export const RunId = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,128}$/, "must be 1..128 characters of A-Z a-z 0-9 . _ -");
const status = z.enum(RUN_STATUSES);
const count = z.int().nonnegative();
const time = z.string().max(64);

export const StartRun = z.strictObject({
  namespace,
  workflow: workflowName,
  /** Made up when left out. Starting is idempotent by it. */
  id: RunId.optional(),
  input: json.optional(),
  /** Of the whole run: a duration such as 24h, never longer than the workflow's own. */
  deadline: z.string().max(32).optional(),
  /** Default `api`. */
  startedBy: z
    .string()
    .max(320)
    .regex(/^(http|object|api):\S+$/)
    .optional(),
});
export type StartRun = z.infer<typeof StartRun>;

const RunError = z.object({ type: z.string(), message: z.string() });
export const PayloadView = z.union([
  z.object({ value: z.unknown().optional() }),
  z.object({ ref: z.string(), bytes: count }),
]);

export const RunView = z.object({
  namespace: z.string(),
  id: z.string(),
  workflow: z.string(),
  generation: count,
  /** sha256 of what runs. */
  definition: z.string(),
  status,
  /** Paths of the active leaf states. */
  states: z.array(z.string()),
  /** Types of events that are taken now. */
  accepts: z.array(z.string()),
  startedBy: z.string(),
  /** ISO 8601, by the store's clock. */
  startedAt: time,
  updatedAt: time,
  finishedAt: time.optional(),
  input: z.unknown().optional(),
  output: z.unknown().optional(),
  error: RunError.optional(),
  /** How it will end once its compensations are done, and what it owes other runs. */
  ending: status.optional(),
  deadlineAt: time.optional(),
  parent: z.object({ namespace: z.string(), id: z.string() }).optional(),
  /** Actor → function and version, or workflow. */
  pins: z.record(
    z.string(),
    z.object({ kind: z.enum(["function", "workflow"]), name: z.string(), version: z.string().optional() }),
  ),
  /** Steps under way. */
  steps: z.array(
    z.object({
      token: z.string(),
      actor: z.string(),
      state: z.string(),
      attempt: count,
      /** A retry or an overload waits until then. */
      notBefore: time.optional(),
      /** A callback or a child run completes it. */
      waiting: z.boolean().optional(),
      /** Of a map. */
      items: count.optional(),
    }),
  ),
  timers: z.array(z.object({ id: z.string(), event: z.string(), dueAt: time })),
});
export type RunView = z.infer<typeof RunView>;

export const RunQuery = z.object({
  namespace,
  workflow: workflowName.optional(),
  status: status.optional(),
  /** RFC 3339. */
  since: time.optional(),
  until: time.optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(50),
  /** `next` of the page before. */
  after: z.string().max(1_024).optional(),
});
export type RunQuery = z.infer<typeof RunQuery>;

export const RunSummaryView = z.object({
  namespace: z.string(),
  id: z.string(),
  workflow: z.string(),
  status,
  states: z.array(z.string()),
  startedAt: time,
  finishedAt: time.optional(),
});
export const RunList = z.object({ runs: z.array(RunSummaryView), next: z.string().optional() });
export type RunList = z.infer<typeof RunList>;

export const HistoryQuery = z.object({
  /** First seq. */
  from: z.coerce.number().int().nonnegative().default(0),
  limit: z.coerce.number().int().min(1).max(1_000).default(200),
});

export const HistoryLine = z.object({
  seq: count,
  at: time,
  type: z.string(),
  transition: count,
  state: z.string().optional(),
  token: z.string().optional(),
  actor: z.string().optional(),
  attempt: count.optional(),
  event: z.string().optional(),
  payload: PayloadView.optional(),
  error: RunError.optional(),
  note: z.string().optional(),
});
export type HistoryLine = z.infer<typeof HistoryLine>;
/** `next`: the `from` of the page after; absent on the last. */
export const HistoryPage = z.object({ entries: z.array(HistoryLine), next: count.optional() });
export type HistoryPage = z.infer<typeof HistoryPage>;

export const SendEvent = z.strictObject({
  /** Whoever sends it again with the same id changes nothing. */
  id: z.string().min(1).max(128).optional(),
  event: z.looseObject({ type: z.string().min(1).max(256) }),
  /** Keep it until the machine takes it, instead of refusing it now. */
  buffered: z.boolean().default(false),
});
export type SendEvent = z.infer<typeof SendEvent>;
export const EventAccepted = z.object({ id: z.string(), result: z.enum(["accepted", "duplicate"]) });

export const EndRun = z.strictObject({ reason: z.string().max(1_024).default("") });

export const CallbackResult = z.union([
  z.strictObject({ output: json }),
  z.strictObject({
    error: z.strictObject({ type: z.string().min(1).max(128), message: z.string().max(4_096) }),
  }),
]);
export type CallbackResult = z.infer<typeof CallbackResult>;

export const WaitQuery = z.object({
  timeoutMs: z.coerce.number().int().nonnegative().max(600_000).default(30_000),
});
export const GraphQuery = z.object({ format: z.enum(["mermaid", "svg"]).default("mermaid") });
export type GraphQuery = z.infer<typeof GraphQuery>;

/** Exactly one of `spec` and `archive`. */
export const CheckDefinition = z.strictObject({
  namespace,
  /** Of the Workflow. */
  name: workflowName,
  /** A Workflow's `spec` in the form of `startAt` and `states`. */
  spec: json.optional(),
  /** sha256 of the archive with the one-file bundle of a TypeScript workflow. */
  archive: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  /** Which export of the bundle it is; default `default`. */
  export: z.string().max(128).optional(),
});
export type CheckDefinition = z.infer<typeof CheckDefinition>;

export const DefinitionCheck = z.object({
  /** Absent when there are problems that keep it from running. */
  digest: z.string().optional(),
  facts: json.optional(),
  problems: z.array(
    z.object({ severity: z.enum(["error", "warning"]), place: z.string(), message: z.string() }),
  ),
});
export type DefinitionCheck = z.infer<typeof DefinitionCheck>;
