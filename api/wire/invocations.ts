import { z } from "zod";

/**
 * The trigger service's API for asynchronous invocations (signed calls, JSON); the operations API passes the same paths on for authenticated callers.
 * Errors are `ErrorBody`.
 *
 *   POST /v1/invocations                        `messageHead(NewInvocation)`, then the body → 202 `InvocationAccepted`, once it is durable;
 *                                               413 body_too_large, 429 queue_full, 503 redis_unavailable; of one over 256 KiB
 *                                               503 storage_unavailable, 507 storage_full
 *   GET  /v1/invocations?<InvocationQuery>      `InvocationList`, newest first
 *   GET  /v1/invocations/<ns>/<id>?payload=true `InvocationView`; with its request on demand
 *   GET  /v1/invocations/<ns>/<id>/result       what the function answered, as it answered, with `x-isotope-status`; 404 while there is none
 *   POST /v1/invocations/<ns>/<id>/cancel       → 202 `InvocationView`: a waiting one at once, a running one is aborted
 *   GET  /v1/dlq?<DeadLetterQuery>              `InvocationList` of dead letters
 *   POST /v1/dlq/redrive                        `DeadLetterSelection` → `DeadLetterCount`: they are delivered again, as if they were new
 *   POST /v1/dlq/purge                          `DeadLetterSelection` → `DeadLetterCount`: they are gone
 *                                               (both: 404 invocation_not_found when an id is of none, and nothing is changed)
 */
export const TRIGGERS_AUDIENCE = "triggers";
export const INVOCATION_CONTENT_TYPE = "application/vnd.isotope.invocation";

/** Largest body of an invocation. */
export const MAX_INVOCATION_BYTES = 50 * 2 ** 20;
export const MAX_INVOCATION_HEAD_BYTES = 256 * 2 ** 10;

const namespace = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "must be the name of a namespace");
const name = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, "must be a name");
export const InvocationId = z.string().regex(/^[0-9a-z]{27}$/, "must be an invocation's id");
const STATUSES = ["queued", "running", "succeeded", "dead", "cancelled"] as const;
const count = z.int().nonnegative();
const time = z.string().max(64);

export const EventTarget = z.strictObject({
  type: z.enum(["name", "function-weights", "workflow"]),
  name,
  alias: name.optional(),
  version: name.optional(),
  functionweights: z.record(z.string(), z.number()).optional(),
});

export const NewInvocation = z.strictObject({
  namespace,
  target: EventTarget,
  /** The version is what a choice came to, not what somebody asked for: when it is gone, the function will do. */
  pinned: z.boolean().optional(),
  method: z.string().max(16),
  path: z.string().max(65_536),
  headers: z.record(z.string(), z.string()),
  /** Who makes it: `http`, `http/<trigger>`. */
  source: z.string().max(320),
  dedupKey: z.string().max(1_024).optional(),
  delayMs: count.optional(),
});
export type NewInvocation = z.infer<typeof NewInvocation>;

export const InvocationAccepted = z.object({
  invocationId: z.string(),
  /** An earlier one with the same dedup key. */
  duplicate: z.boolean(),
});
export type InvocationAccepted = z.infer<typeof InvocationAccepted>;

/** Bytes as text where they are UTF-8, else in base64. */
export const Payload = z.object({ text: z.string().optional(), base64: z.string().optional() });
export type Payload = z.infer<typeof Payload>;

const Headers = z.record(z.string(), z.string());

export const InvocationView = z.object({
  namespace: z.string(),
  id: z.string(),
  /** `function` or `workflow`, and its name; the version that it is delivered to. */
  target: z.object({
    kind: z.enum(["function", "workflow"]),
    name: z.string(),
    version: z.string().optional(),
    alias: z.string().optional(),
  }),
  source: z.string(),
  status: z.enum(STATUSES),
  /** ISO 8601, by the store's clock. */
  acceptedAt: time,
  /** Not before. */
  dueAt: time.optional(),
  startedAt: time.optional(),
  endedAt: time.optional(),
  /** Deliveries begun; those that failed; how many may. */
  tries: count,
  failures: count,
  maxAttempts: count,
  /** Deliveries whose worker was gone before their end. */
  lost: count,
  redrives: count,
  depth: count,
  method: z.string(),
  path: z.string(),
  payloadBytes: count,
  lastError: z.object({ status: count, reason: z.string(), message: z.string(), at: time }).optional(),
  /** Without a body over 256 KiB: it is read from `/result`. `lost`: why that was not kept. */
  result: z
    .object({
      status: count,
      headers: Headers,
      bytes: count,
      body: Payload.optional(),
      lost: z.string().optional(),
    })
    .optional(),
  destination: z
    .object({ at: time, to: z.string(), invocationId: z.string().optional(), error: z.string().optional() })
    .optional(),
  request: z.object({ headers: Headers, body: Payload }).optional(),
});
export type InvocationView = z.infer<typeof InvocationView>;

const limit = z.coerce.number().int().min(1).max(1_000).default(100);

export const InvocationQuery = z.object({
  namespace: namespace.optional(),
  function: name.optional(),
  workflow: name.optional(),
  status: z.enum(STATUSES).optional(),
  source: z.string().max(320).optional(),
  limit,
  /** `continue` of the page before. */
  continue: z.string().max(128).optional(),
});
export type InvocationQuery = z.infer<typeof InvocationQuery>;

export const DeadLetterQuery = InvocationQuery.omit({ status: true });
export type DeadLetterQuery = z.infer<typeof DeadLetterQuery>;

export const InvocationList = z.object({
  items: z.array(InvocationView),
  /** There may be more. */
  continue: z.string().optional(),
});
export type InvocationList = z.infer<typeof InvocationList>;

/** Which dead letters: some by id, those of a function, workflow or trigger, or all of the namespace. */
export const DeadLetterSelection = z
  .strictObject({
    namespace,
    ids: z.array(z.string().max(64)).max(1_000).optional(),
    function: name.optional(),
    workflow: name.optional(),
    source: z.string().max(320).optional(),
    all: z.boolean().optional(),
    /** Of the call before: the older ones. */
    continue: z.string().max(128).optional(),
  })
  .refine(
    ({ ids, all, ...by }) => ids !== undefined || all === true || by.function || by.workflow || by.source,
    "must say which: ids, function, workflow, source or all",
  );
export type DeadLetterSelection = z.infer<typeof DeadLetterSelection>;

export const DeadLetterCount = z.object({
  count,
  /** There may be more: one call takes 1,000. */
  continue: z.string().optional(),
});
export type DeadLetterCount = z.infer<typeof DeadLetterCount>;
