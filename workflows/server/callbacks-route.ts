import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { PlatformError } from "../../api/errors.ts";
import { CallbackResult } from "../../api/wire/workflows.ts";
import type { Message, Outcome, RunKey } from "../core/run-record.ts";
import type { Delivered } from "../journal/journal.ts";
import type { CallbackTarget, CallbackTokens } from "../worker/callback-token.ts";
import type { Payloads } from "../worker/ports.ts";
import { parseRequest } from "./parse-request.ts";
import { storedPayload } from "./start-run.ts";

export interface CallbacksDeps {
  readonly tokens: Pick<CallbackTokens, "read">;
  readonly payloads: Payloads;
  readonly deliver: (key: RunKey, message: Message) => Promise<Delivered>;
}

const MAX_BODY_BYTES = 64 * 2 ** 20;
const Params = z.object({ token: z.string() });
const Heartbeat = z.looseObject({});

/** What ends a step from outside, once, and what says that it still goes on. */
export function callbacksRoutes(app: FastifyInstance, deps: CallbacksDeps): void {
  const targetOf = (params: unknown): CallbackTarget => {
    const target = deps.tokens.read(parseRequest("use a callback", Params, params).token);
    if (target) return target;
    throw new PlatformError("callback_unknown", "The callback's token is wrong");
  };
  app.post("/v1/callbacks/:token", { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
    const { run, token, attempt } = targetOf(request.params);
    const result = parseRequest("use a callback", CallbackResult, request.body);
    const outcome: Outcome =
      "output" in result
        ? { kind: "done", output: await storedPayload(deps.payloads, run, result.output) }
        : { kind: "failed", error: result.error };
    const delivered = await deps.deliver(run, { kind: "completed", token, attempt, outcome });
    refuseUnlessTaken(delivered, run);
    return reply.code(202).send({});
  });
  app.post("/v1/callbacks/:token/heartbeat", async (request, reply) => {
    const { run, token, attempt } = targetOf(request.params);
    parseRequest("send a heartbeat", Heartbeat, request.body);
    refuseUnlessTaken(await deps.deliver(run, { kind: "heartbeat", token, attempt }), run);
    return reply.code(202).send({});
  });
}

function refuseUnlessTaken({ kind }: Delivered, { namespace, id }: RunKey): void {
  if (kind === "accepted") return;
  if (kind === "unknown")
    throw new PlatformError("callback_unknown", `Run "${namespace}/${id}" does not exist any more`);
  const why =
    kind === "duplicate"
      ? "it was used already"
      : kind === "finished"
        ? "its run has ended"
        : "its step has ended, or is being tried again";
  throw new PlatformError("callback_used", `The callback of run "${namespace}/${id}" counts no more: ${why}`);
}
