import { createHash } from "node:crypto";
import type { SignedClient } from "../../../net/signed-client.ts";
import type { Outcome, TriggerEvent } from "./event.ts";
import { outcomeOf, rejected } from "./outcome.ts";
import { readAnswer } from "./read-answer.ts";

/**
 * Starts the run of a workflow with the event's body as its input. The run's id comes from the event, so that an event that is delivered twice starts
 * one run.
 */
export async function startRun(
  workflows: Pick<SignedClient, "send">,
  workflow: string,
  event: TriggerEvent,
  signal: AbortSignal,
): Promise<Outcome> {
  const input = inputOf(event);
  if (input instanceof SyntaxError)
    return rejected(0, "bad_request", `The event says that it is JSON, but is not: ${input.message}`);
  const { namespace } = event;
  const id = runIdOf(workflow, event);
  const reply = await workflows.send({
    method: "POST",
    target: "/v1/runs",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ namespace, workflow, id, input, startedBy: `api:event` }),
    signal,
  });
  return outcomeOf(reply, await readAnswer(reply.body));
}

const runIdOf = (workflow: string, { namespace, id }: TriggerEvent): string =>
  `event-${createHash("sha256").update(`${namespace}/${workflow}\n${id}`).digest("base64url").slice(0, 32)}`;

/** JSON as it is; text as a string; anything else in base64. */
function inputOf({ headers, body }: TriggerEvent): unknown {
  if (body.length === 0) return null;
  const bytes = Buffer.from(body);
  const type = headers["content-type"] ?? "application/json";
  try {
    if (/[/+]json\b/i.test(type)) return JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    return error instanceof SyntaxError ? error : new SyntaxError(String(error));
  }
  return /^text\//i.test(type) ? bytes.toString("utf8") : bytes.toString("base64");
}
