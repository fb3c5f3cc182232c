import type { Failure } from "../delivery/event.ts";
import type { MessageTrigger } from "./message-event.ts";
import type { OutgoingMessage, SourceMessage } from "./source.ts";

/** A message that could not be delivered, with what is known of the failure. */
export interface Buried {
  readonly message: SourceMessage;
  readonly attempts: number;
  readonly failure: Failure;
  /** When it was given up; milliseconds since 1970. */
  readonly at: number;
}

/**
 * What is sent to an error topic: the original payload, key and headers, and the facts of the failure in headers that start with `isotope-failure-`.
 */
export function errorTopicMessage(trigger: MessageTrigger, topic: string, buried: Buried): OutgoingMessage {
  const { message, failure } = buried;
  return {
    topic,
    ...(message.key === undefined ? {} : { key: message.key }),
    headers: {
      ...message.headers,
      "isotope-failure-reason": failure.reason,
      "isotope-failure-status": String(failure.status),
      // Headers carry no line breaks, and not every broker takes what is not ASCII.
      "isotope-failure-message": failure.message.replaceAll(/[^\x20-\x7e]+/g, " "),
      "isotope-failure-attempts": String(buried.attempts),
      "isotope-failure-trigger": `${trigger.namespace}/${trigger.name}`,
      "isotope-failure-topic": message.topic,
      "isotope-failure-message-id": message.id,
      "isotope-failure-time": new Date(buried.at).toISOString(),
    },
    body: message.body,
  };
}
