import { PlatformError } from "../../../api/errors.ts";
import type { Target, TriggerEvent } from "../delivery/event.ts";
import { headerText } from "../delivery/request-headers.ts";
import { responseMessage } from "../queues/message-event.ts";
import type { OutgoingMessage } from "../queues/source.ts";
import type { AcceptInvocation } from "./accept.ts";
import type {
  DestinationReport,
  Invocation,
  InvocationDestination,
  InvocationJournal,
  TopicDestination,
} from "./journal.ts";
import type { Spills } from "./spills.ts";

/**
 * Puts a message on a topic; resolves once it is durable there. The Secret that the topic names is one of the namespace.
 * @throws {PlatformError} `bad_request` when that can never go well
 */
export type PublishToTopic = (
  namespace: string,
  topic: Omit<TopicDestination, "inReplyTo">,
  message: Omit<OutgoingMessage, "topic">,
) => Promise<void>;

export interface TellDeps {
  readonly journal: Pick<InvocationJournal, "get" | "told">;
  readonly accept: AcceptInvocation;
  readonly spills: Pick<Spills, "get">;
  /** Undefined: there are no topics here. */
  readonly publish: PublishToTopic | undefined;
  readonly now: () => number;
}

/** Hops of destinations: what goes in a circle ends. */
export const MAX_DEPTH = 3;
const MAX_MESSAGE = 1_024;

/**
 * Passes on what came of an ended invocation: a success as the function's answer, a failure as what it was called with, each with what happened as
 * attributes of a CloudEvent. Telling twice is telling once: the event's id is the invocation's.
 * @throws {NotToldYet} when it cannot be told now; the invocation stays in the outbox
 */
export async function tellDestination(deps: TellDeps, id: string): Promise<void> {
  const invocation = await deps.journal.get(id);
  if (!invocation) return;
  const { status, onSuccess, onFailure } = invocation;
  const destination = status === "succeeded" ? onSuccess : status === "dead" ? onFailure : undefined;
  if (!destination) return deps.journal.told(id, { at: deps.now(), to: "" });
  await deps.journal.told(id, await reportOf(deps, invocation, destination));
}

async function reportOf(
  deps: TellDeps,
  invocation: Invocation,
  destination: InvocationDestination,
): Promise<DestinationReport> {
  const to = destination.function ? addressOf(destination.function) : `topic/${destination.topic?.topic}`;
  const at = deps.now();
  if (invocation.depth + 1 > MAX_DEPTH)
    return { at, to, error: `Not told: ${MAX_DEPTH} destinations in a row are the most` };
  const lost = invocation.status === "succeeded" ? invocation.result?.elsewhere?.lost : undefined;
  if (lost !== undefined) return { at, to, error: `Not told: the answer was not kept: ${lost}` };
  try {
    const told = await tell(deps, invocation, destination);
    return { at, to, ...told };
  } catch (error) {
    if (error instanceof PlatformError && NEVER_BETTER.has(error.code))
      return { at, to, error: error.message };
    const message = error instanceof Error ? error.message : String(error);
    throw new NotToldYet({ at, to, error: `Not told yet: ${message.slice(0, MAX_MESSAGE)}` }, error);
  }
}

/** It may go well later; the report says so until then. */
export class NotToldYet extends Error {
  readonly report: DestinationReport;
  constructor(report: DestinationReport, cause: unknown) {
    super(report.error ?? "", { cause });
    this.report = report;
  }
}

const NEVER_BETTER = new Set(["function_not_found", "version_not_found", "body_too_large", "bad_request"]);

const addressOf = (target: Target): string =>
  `${target.type === "workflow" ? "workflow" : "function"}/${target.name}`;

async function tell(
  deps: TellDeps,
  invocation: Invocation,
  destination: InvocationDestination,
): Promise<{ invocationId?: string }> {
  if (destination.function) {
    const event = await eventOf(deps, invocation);
    const accepted = await deps.accept({
      event,
      target: destination.function,
      source: `destination/${invocation.id}`,
      depth: invocation.depth + 1,
    });
    return { invocationId: accepted.id };
  }
  if (!destination.topic) return {};
  if (!deps.publish)
    throw new PlatformError("redis_unavailable", "No topics are served here: the message waits");
  await deps.publish(
    invocation.namespace,
    destination.topic,
    await messageOf(deps, invocation, destination.topic),
  );
  return {};
}

async function messageOf(
  deps: TellDeps,
  invocation: Invocation,
  { topic, inReplyTo }: TopicDestination,
): Promise<Omit<OutgoingMessage, "topic">> {
  if (inReplyTo && invocation.result) return responseMessage(topic, inReplyTo, invocation.result);
  const { headers, body } = await eventOf(deps, invocation);
  return { headers, body };
}

async function eventOf({ spills }: TellDeps, invocation: Invocation): Promise<TriggerEvent> {
  const { id, namespace, target, result, failure, event, tries } = invocation;
  const succeeded = invocation.status === "succeeded";
  const body = succeeded
    ? result?.body
    : (invocation.body ?? (invocation.spill === undefined ? undefined : await spills.get(invocation.spill)));
  const type = (succeeded ? result?.headers : event.headers)?.["content-type"];
  return {
    id: `${id}/${succeeded ? "success" : "failure"}`,
    namespace,
    method: "POST",
    path: "/",
    headers: {
      ...(type === undefined ? {} : { "content-type": type }),
      "ce-specversion": "1.0",
      "ce-id": `${id}/${succeeded ? "success" : "failure"}`,
      "ce-type": `dev.isotope.invocation.${succeeded ? "succeeded" : "failed"}`,
      "ce-source": `/isotope/${namespace}/${target.name}`,
      "ce-time": new Date(invocation.endedAt ?? invocation.acceptedAt).toISOString(),
      "ce-invocationid": id,
      "ce-attempts": String(tries),
      ...(succeeded
        ? { "ce-status": String(result?.status ?? 0) }
        : {
            "ce-status": String(failure?.status ?? 0),
            "ce-reason": headerText(failure?.reason ?? ""),
            "ce-message": headerText(failure?.message ?? ""),
          }),
    },
    body: body ?? new Uint8Array(),
  };
}
