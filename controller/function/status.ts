import type { Function as FunctionObject, FunctionStatus } from "../../api/kinds/index.ts";
import { topicAddressFault } from "../../api/sources/topic-address-fault.ts";
import { type ConditionUpdate, setConditions } from "../../kube/conditions.ts";
import type { Resolution } from "./resolve.ts";

/** What a reconcile makes of a function: its next status, and what is worth an Event. */
export interface FunctionOutcome {
  status: FunctionStatus;
  events: { type: "Normal" | "Warning"; reason: string; message: string }[];
}

/** The status that follows from a resolution. A function that cannot take up its newest state keeps the revision that serves. Pure. */
export function nextFunctionStatus(fn: FunctionObject, resolution: Resolution, now: Date): FunctionOutcome {
  const before = fn.status ?? {};
  const generation = fn.metadata.generation ?? 0;
  const events: FunctionOutcome["events"] = [];
  let serving = before.serving;
  if (resolution.kind === "serving") {
    const same = serving?.revision === resolution.serving.revision;
    if (!same) {
      const instead = serving ? ` instead of ${serving.revision}` : "";
      events.push({
        type: "Normal",
        reason: "RevisionServes",
        message: `Revision ${resolution.serving.revision} serves${instead}`,
      });
    }
    serving = { ...resolution.serving, since: same && serving ? serving.since : now.toISOString() };
  }
  const ready = readyCondition(fn, resolution, serving?.revision);
  const destinations = destinationsCondition(fn);
  const others = before.conditions?.filter(({ type }) => destinations || type !== DESTINATIONS_READY);
  const conditions = setConditions(
    others,
    [ready, resolution.package, ...(destinations ? [destinations] : [])],
    { generation, now },
  );
  const old = before.conditions?.find((condition) => condition.type === "Ready");
  if (ready.status === "False" && (old?.reason !== ready.reason || old.message !== ready.message)) {
    events.push({ type: "Warning", reason: ready.reason, message: ready.message });
  }
  return {
    status: {
      ...before,
      observedGeneration: generation,
      conditions: [...conditions],
      ...(serving ? { serving } : {}),
    },
    events,
  };
}

const DESTINATIONS_READY = "DestinationsReady";

/** Of a function whose asynchronous calls are told to topics. */
function destinationsCondition({ spec }: FunctionObject): ConditionUpdate | undefined {
  const topics = (["onSuccess", "onFailure"] as const).flatMap((end) => {
    const topic = spec.invocation?.[end]?.topic;
    return topic ? [{ end, topic }] : [];
  });
  if (topics.length === 0) return undefined;
  for (const { end, topic } of topics) {
    const fault = topicAddressFault(topic);
    if (fault !== undefined)
      return {
        type: DESTINATIONS_READY,
        status: "False",
        reason: "InvalidDestination",
        message: `spec.invocation.${end}.topic: ${fault}`,
      };
  }
  const names = topics.map(({ topic }) => `"${topic.topic}" (${topic.messageQueueType})`).join(" and ");
  return {
    type: DESTINATIONS_READY,
    status: "True",
    reason: "Written",
    message: `What comes of asynchronous calls goes to ${names}`,
  };
}

function readyCondition(
  fn: FunctionObject,
  resolution: Resolution,
  revision: string | undefined,
): ConditionUpdate {
  if (resolution.kind === "serving") {
    const notes = resolution.notes.length > 0 ? `; ${resolution.notes.join("; ")}` : "";
    return {
      type: "Ready",
      status: "True",
      reason: "Serving",
      message: `Revision ${revision ?? ""} serves${notes}`,
    };
  }
  const { reason, message } = resolution.problem;
  if (revision === undefined) return { type: "Ready", status: "False", reason, message };
  // A package that is being rebuilt takes nothing away from the function as it was last wanted.
  const onlyWaits = reason === "PackageBuilding" && fn.status?.serving?.generation === fn.metadata.generation;
  if (onlyWaits) {
    return {
      type: "Ready",
      status: "True",
      reason: "Serving",
      message: `Revision ${revision} serves; ${lowerFirst(message)}`,
    };
  }
  return { type: "Ready", status: "False", reason, message: `${message}; revision ${revision} still serves` };
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
