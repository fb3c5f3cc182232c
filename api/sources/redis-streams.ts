import { z } from "zod";
import { whole } from "./setting.ts";

/** `messageQueueType: redis-streams`: the built-in topics, or the streams of a Redis of one's own. Secret: `username`, `password`. */
export const RedisStreamsConfig = z.strictObject({
  address: z
    .string()
    .regex(/^rediss?(:\/\/[^\s/@]+(\/\d+)?|\+cluster:\/\/[^\s/@,]+:\d+(,[^\s/@,]+:\d+)*)$/)
    .meta({
      allowed:
        "redis://host:port or rediss://host:port, of a cluster redis+cluster://host:port,host:port (or rediss+cluster://), without credentials",
    })
    .optional()
    .describe("Redis whose streams are read; without it, the built-in topics of the trigger's namespace"),
  ordering: z
    .enum(["key", "topic", "none"])
    .prefault("key")
    .describe("What is delivered in order: messages of the same key, all of the topic, or nothing"),
  start: z
    .enum(["latest", "earliest"])
    .prefault("latest")
    .describe(
      "Where a new group begins: with what comes from now on, or with the oldest message that is there",
    ),
  group: z
    .string()
    .min(1)
    .max(128)
    .optional()
    .describe("Name of the consumer group; default: the trigger's uid"),
  window: whole(1, 10_000, 256).describe("Most messages that are fetched and not dealt with yet"),
});
export type RedisStreamsConfig = z.infer<typeof RedisStreamsConfig>;

/** `statestore`, the reference system's name for its built-in topics: strictly ordered. */
export const StatestoreConfig = RedisStreamsConfig.extend({
  ordering: RedisStreamsConfig.shape.ordering
    .unwrap()
    .prefault("topic")
    .describe("As with redis-streams; default: all of the topic"),
});
