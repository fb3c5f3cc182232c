import type { z } from "zod";
import { type Async, settingTexts } from "../../api/event-config.ts";
import type { FunctionSpec } from "../../api/kinds/index.ts";
import { durationText } from "./event-triggers.ts";

type Policy = NonNullable<z.infer<typeof FunctionSpec>["invocation"]>;
type Destination = NonNullable<z.infer<typeof Async>["onSuccess"]>;

/** `spec.invocation` of a function whose file says how its asynchronous calls are tried. */
export function asyncPolicy({
  maxAttempts,
  backoff,
  maxBackoff,
  jitter,
  maxAge,
  concurrency,
  onSuccess,
  onFailure,
}: z.infer<typeof Async>): Policy {
  const retry = {
    ...(maxAttempts === undefined ? {} : { maxAttempts }),
    ...(backoff === undefined ? {} : { backoffBase: durationText(backoff) }),
    ...(maxBackoff === undefined ? {} : { backoffCap: durationText(maxBackoff) }),
    ...(jitter === undefined ? {} : { jitter }),
  };
  return {
    ...(Object.keys(retry).length > 0 ? { retry } : {}),
    ...(maxAge === undefined ? {} : { maxAge: durationText(maxAge) }),
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(onSuccess === undefined ? {} : { onSuccess: destinationOf(onSuccess) }),
    ...(onFailure === undefined ? {} : { onFailure: destinationOf(onFailure) }),
  };
}

function destinationOf(destination: Destination): NonNullable<Policy["onSuccess"]> {
  if (typeof destination === "string") return { function: { type: "name", name: destination } };
  if ("workflow" in destination) return { function: { type: "workflow", name: destination.workflow } };
  if ("topic" in destination) return { topic: topicDestination(destination) };
  const { function: name, alias } = destination;
  return { function: { type: "name", name, ...(alias === undefined ? {} : { alias }) } };
}

function topicDestination({
  topic,
  type = "statestore",
  secret,
  settings,
}: Extract<Destination, { topic: string }>): NonNullable<NonNullable<Policy["onSuccess"]>["topic"]> {
  return {
    messageQueueType: type,
    topic,
    ...(settings === undefined ? {} : { metadata: settingTexts(settings) }),
    ...(secret === undefined ? {} : { secret }),
  };
}
