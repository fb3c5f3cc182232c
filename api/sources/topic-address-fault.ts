import { sourceConfigFaults, sourceTypeFault } from "./index.ts";

/** A topic that messages are sent to. */
export interface TopicAddress {
  readonly messageQueueType: string;
  readonly topic: string;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly secret?: string | undefined;
}

/** Why nothing can be sent to a topic as it is written: a sentence that begins with the field; undefined = nothing is wrong. */
export function topicAddressFault({ messageQueueType, metadata = {} }: TopicAddress): string | undefined {
  return sourceTypeFault(messageQueueType) ?? sourceConfigFaults(messageQueueType, metadata)[0];
}
