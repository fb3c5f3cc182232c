import { z } from "zod";

/**
 * The built-in topics in the trigger service's API (signed calls, JSON). The operations API passes the first two paths on for authenticated callers; the
 * others are the reference system's, on the router's internal listener, with namespace and topic in body and query.
 *
 *   POST /v1/topics/<ns>/<topic>         as `publish`
 *   GET  /v1/topics/<ns>/<topic>?limit&after  as `peek`
 *   POST /v1/eventing/topic/publish      `PublishMessage` → 202 `PublishedMessage`, once it is durable; 413 body_too_large, 429 queue_full, 503
 *   GET  /v1/eventing/topic/peek?<PeekQuery>  `MessageList`: the newest first; with `after`, those behind it, oldest first
 */
export const TopicName = z
  .string()
  .regex(/^[a-zA-Z0-9._-]{1,249}$/, "must be 1..249 characters of A-Z a-z 0-9 . _ -");
const namespace = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "must be the name of a namespace")
  .default("default");

export const PublishMessage = z.strictObject({
  namespace,
  topic: TopicName,
  /** Text; or, with `base64`, bytes. */
  data: z.string(),
  base64: z.boolean().default(false),
  key: z.string().max(1_024).optional(),
  headers: z.record(z.string().max(256), z.string().max(8_192)).optional(),
  contentType: z.string().max(256).default("application/json"),
  /** `mqtype` of the reference system. */
  messageQueueType: z.enum(["redis-streams", "statestore"]).default("redis-streams"),
});
export type PublishMessage = z.input<typeof PublishMessage>;

export const PublishedMessage = z.object({ id: z.string() });

export const PeekQuery = z.strictObject({
  namespace,
  topic: TopicName,
  limit: z.coerce.number().int().min(1).max(1_000).default(10),
  after: z
    .string()
    .regex(/^\d{1,20}-\d{1,20}$/, "must be a message's id")
    .optional(),
});

export const TopicMessage = z.object({
  id: z.string(),
  key: z.string().optional(),
  headers: z.record(z.string(), z.string()),
  /** When it was published. */
  at: z.string(),
  data: z.string(),
  /** `data` is base64, since the message is no UTF-8 text. */
  base64: z.boolean(),
});
export type TopicMessage = z.infer<typeof TopicMessage>;
export const MessageList = z.object({ items: z.array(TopicMessage) });
