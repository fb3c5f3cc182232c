import { TopicName } from "../wire/topics.ts";

interface Topics {
  readonly messageQueueType?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly topic: string;
  readonly respTopic?: string | undefined;
  readonly errorTopic?: string | undefined;
}

/** What is wrong with the topics of a trigger, or undefined. */
export function topicsFault(spec: Topics): string | undefined {
  const { topic, respTopic, errorTopic } = spec;
  if (isBuiltInTopic(spec))
    for (const [field, name] of Object.entries({ topic, respTopic, errorTopic })) {
      const fault = name && TopicName.safeParse(name).error?.issues[0]?.message;
      if (fault) return `${field} ${fault}, got "${name}"`;
    }
  const [same] = Object.entries({ respTopic, errorTopic }).filter(([, name]) => name === topic);
  return (
    same &&
    `${same[0]} must differ from topic "${topic}", got "${topic}": what is sent there would come back to the trigger`
  );
}

/** Whether a topic is one of the platform's own, whose names are checked: nobody could publish to another; streams of a Redis of one's own have any. */
export const isBuiltInTopic = ({
  messageQueueType,
  metadata,
}: Pick<Topics, "messageQueueType" | "metadata">): boolean =>
  (messageQueueType === "redis-streams" || messageQueueType === "statestore") && !metadata?.["address"];
