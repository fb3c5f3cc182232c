import { createSources } from "../../engine/triggers/queues/sources/index.ts";
import {
  type TopicPublisher,
  type TopicPublisherDeps,
  topicPublisher,
} from "../../engine/triggers/queues/topics/topic-publisher.ts";
import { createTopics } from "../../engine/triggers/queues/topics/topics.ts";
import { processLog } from "../../net/log.ts";
import type { RedisConnection } from "../../net/redis.ts";

/** What sends to topics in the trigger service, with Secrets by `namespace/name`. */
export function openPublisher({
  redis,
  redisUrl,
  secrets,
  ...more
}: {
  readonly redis: RedisConnection;
  readonly redisUrl: string;
  readonly secrets: Readonly<Record<string, Record<string, string>>>;
} & Partial<TopicPublisherDeps>): TopicPublisher {
  return topicPublisher({
    sources: createSources({ redisUrl: () => redisUrl }),
    append: createTopics(() => redis.client()).append,
    readSecret: (namespace, name) => {
      const secret = secrets[`${namespace}/${name}`];
      return secret ? Promise.resolve(secret) : Promise.reject(new Error(`Secret "${name}" not found`));
    },
    log: processLog("test", { level: "error" }),
    ...more,
  });
}
