import type { MessageQueueTrigger } from "../../../api/kinds/index.ts";
import { sourceConfigFaults, sourceTypeFault } from "../../../api/sources/index.ts";
import { topicsFault } from "../../../api/sources/topics-fault.ts";
import { type TargetFault, targetFault, type TargetWorld } from "../delivery/target-fault.ts";

/** What keeps a trigger from working: for its conditions. */
export type TriggerFault = TargetFault;

export const DEFAULT_TYPE = "kafka";
export const typeOf = ({ spec }: MessageQueueTrigger): string => spec.messageQueueType || DEFAULT_TYPE;

/** What is wrong with a trigger as it is written, or with what it calls; undefined = nothing. */
export function triggerFault(trigger: MessageQueueTrigger, world: TargetWorld): TriggerFault | undefined {
  const { spec, metadata } = trigger;
  const type = typeOf(trigger);
  const unknown = sourceTypeFault(type);
  if (unknown !== undefined) return { reason: "UnsupportedMessageQueueType", message: unknown };
  const [fault] = sourceConfigFaults(type, spec.metadata ?? {});
  if (fault !== undefined) return { reason: "InvalidMetadata", message: fault };
  const topics = topicsFault(spec);
  if (topics !== undefined) return { reason: "InvalidTopic", message: topics };
  if (!spec.functionref)
    return { reason: "FunctionNotFound", message: "functionref must name what is called" };
  return targetFault(spec.functionref, metadata.namespace ?? "default", world);
}
