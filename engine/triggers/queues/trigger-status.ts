import type { MessageQueueTrigger } from "../../../api/kinds/index.ts";
import { type ConditionUpdate, rfc3339, setConditions } from "../../../kube/conditions.ts";
import type { TriggerFault } from "./check-trigger.ts";
import type { ConsumerStats } from "./consume.ts";
import type { SourceState } from "./source.ts";

/** What is known of a trigger at a moment. */
export interface TriggerFacts {
  readonly fault?: TriggerFault | undefined;
  /** Its connection was let go of, as nothing came. */
  readonly isResting?: boolean;
  /** Absent: no consumer. */
  readonly running?:
    | { readonly state: SourceState; readonly stats: ConsumerStats; readonly lag: number | undefined }
    | undefined;
}

const MAX_ERROR = 2_048;

/** Status as it is to be. Counters of a trigger without a consumer stay what they were. */
export function nextStatus(
  trigger: MessageQueueTrigger,
  { fault, running, isResting = false }: TriggerFacts,
  now: Date,
): NonNullable<MessageQueueTrigger["status"]> {
  const { generation } = trigger.metadata;
  const conditions = setConditions(
    trigger.status?.conditions,
    updates(trigger, fault, running?.state, isResting),
    {
      generation,
      now,
    },
  );
  const { lastError: _before, ...before } = trigger.status ?? {};
  return {
    ...before,
    conditions: [...conditions],
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    connected: running?.state.connected ?? false,
    ...(running === undefined
      ? // The numbers may be of before the last message was dealt with; the rest began because nothing waits.
        isResting && !fault
        ? { lag: 0 }
        : {}
      : {
          delivered: running.stats.delivered,
          deadLettered: running.stats.buried,
          ...(running.lag === undefined ? {} : { lag: running.lag }),
          ...(running.stats.lastAt === undefined
            ? {}
            : { lastMessageTime: rfc3339(new Date(running.stats.lastAt)) }),
          ...(running.stats.lastError === undefined
            ? {}
            : { lastError: running.stats.lastError.slice(0, MAX_ERROR) }),
        }),
  };
}

function updates(
  { spec }: MessageQueueTrigger,
  fault: TriggerFault | undefined,
  state: SourceState | undefined,
  isResting: boolean,
): ConditionUpdate[] {
  if (fault) return both("False", fault.reason, fault.message);
  if (isResting && !state)
    return both(
      "True",
      "Resting",
      `Topic "${spec.topic}" has no messages; it is looked at from time to time`,
    );
  if (!state) return both("Unknown", "Starting", "No replica takes the messages yet");
  if (state.connected) return both("True", "Connected", `Messages of topic "${spec.topic}" are taken`);
  return state.error === undefined
    ? both("Unknown", "Connecting", "The broker has not answered yet")
    : both("False", "NotConnected", `The broker cannot be reached; it is tried again: ${state.error}`);
}

const both = (status: ConditionUpdate["status"], reason: string, message: string): ConditionUpdate[] =>
  ["BindingReady", "Ready"].map((type) => ({ type, status, reason, message }));
