/**
 * The built-in topics: streams in the platform's Redis.
 *
 * Invariants
 * B1. A message that a group has not dealt with is never removed: a topic that is full of such messages refuses new ones.
 * B2. A message that all groups have dealt with (or of a topic without groups) stays until the topic is full, so that it can be looked at.
 */
import type { RedisClient } from "../../../../net/redis-client.ts";
import { join } from "node:path";
import { PlatformError } from "../../../../api/errors.ts";
import { redisScripts } from "../../../../net/redis-script.ts";
import type { OutgoingMessage } from "../source.ts";
import { entryFields, readEntries, type StreamEntry, textOf } from "./stream-entry.ts";
import { topicKey } from "./topic-key.ts";

export interface Topics {
  /** Resolves with the message's id once it is in the topic. Throws `redis_unavailable`, `queue_full`. */
  readonly append: (namespace: string, message: OutgoingMessage) => Promise<string>;
  /** The newest messages, newest first; or those after `after`, oldest first. */
  read(namespace: string, topic: string, options: { limit: number; after?: string }): Promise<StreamEntry[]>;
}

/** Messages of a topic, and bytes of one message. */
export const MAX_TOPIC_LENGTH = 1_000_000;
export const MAX_MESSAGE_BYTES = 5 * 2 ** 20;

const publishScript = redisScripts(join(import.meta.dirname, "..", "lua"))("publish");

/** Puts a message on a built-in topic; gives its id once it is there. Throws as `Topics.append` does. */
export async function appendToTopic(
  redis: RedisClient,
  namespace: string,
  message: OutgoingMessage,
  maxLength: number = MAX_TOPIC_LENGTH,
): Promise<string> {
  if (message.body.byteLength > MAX_MESSAGE_BYTES)
    throw new PlatformError(
      "body_too_large",
      `Cannot publish to topic "${message.topic}": a message has at most ${MAX_MESSAGE_BYTES} bytes, got ${message.body.byteLength}`,
    );
  const key = topicKey(namespace, message.topic);
  const id = textOf(await publishScript.run(redis, [key], [maxLength, ...entryFields(message)]));
  if (id === "")
    throw new PlatformError(
      "queue_full",
      `Cannot publish to topic "${message.topic}": it holds ${maxLength} messages that its triggers have not dealt with`,
    );
  return id;
}

export function createTopics(redis: () => RedisClient, maxLength: number = MAX_TOPIC_LENGTH): Topics {
  const append: Topics["append"] = (namespace, message) =>
    appendToTopic(redis(), namespace, message, maxLength);
  return {
    append,
    read: async (namespace, topic, { limit, after }) => {
      const key = topicKey(namespace, topic);
      const reply =
        after === undefined
          ? await redis().xrevrangeBuffer(key, "+", "-", "COUNT", limit)
          : await redis().xrangeBuffer(key, `(${after}`, "+", "COUNT", limit);
      return readEntries(reply).entries;
    },
  };
}
