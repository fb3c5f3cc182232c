import type { z } from "zod";
import {
  EventAccepted,
  type HistoryLine,
  HistoryPage,
  RunList,
  type RunQuery,
  RunView,
  type SendEvent,
  type StartRun,
} from "../../api/wire/workflows.ts";
import type { CliContext } from "../context.ts";
import type { OpsRequest } from "../ops-client.ts";
import { sseEvents, type SseEvent } from "./sse-events.ts";

type RunSummary = RunList["runs"][number];
const PAGE = 500;

async function ask<Schema extends z.ZodType>(
  context: CliContext,
  schema: Schema,
  path: string,
  options: Omit<OpsRequest, "body"> & { body?: unknown } = {},
): Promise<z.infer<Schema>> {
  const { body, ...rest } = options;
  const reply = await (await context.ops()).call(path, {
    signal: context.signal,
    ...rest,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  });
  return schema.parse(await reply.body.json());
}

const runPath = async (context: CliContext, id: string, rest = ""): Promise<string> =>
  `/v1/runs/${encodeURIComponent(await context.namespace())}/${encodeURIComponent(id)}${rest}`;

/** Starts a run; one of that id and start that is there already is given as it is. */
export const startRun = (context: CliContext, start: StartRun): Promise<RunView> =>
  ask(context, RunView, "/v1/runs", { method: "POST", body: start });

export const readRun = async (context: CliContext, id: string): Promise<RunView> =>
  ask(context, RunView, await runPath(context, id));

/** Resolves as soon as the run has ended, at the latest after `timeoutMs` with it as it is then. */
export const waitForRun = async (context: CliContext, id: string, timeoutMs: number): Promise<RunView> =>
  ask(context, RunView, await runPath(context, id, "/wait"), {
    query: { timeoutMs: Math.round(timeoutMs) },
    bodyTimeoutMs: timeoutMs + 30_000,
  });

export const endRun = async (
  context: CliContext,
  id: string,
  how: "cancel" | "terminate",
  reason: string,
): Promise<RunView> =>
  ask(context, RunView, await runPath(context, id, `/${how}`), { method: "POST", body: { reason } });

export const retryRun = async (context: CliContext, id: string): Promise<RunView> =>
  ask(context, RunView, await runPath(context, id, "/retry"), { method: "POST" });

export const sendEvent = async (context: CliContext, id: string, event: SendEvent) =>
  ask(context, EventAccepted, await runPath(context, id, "/events"), { method: "POST", body: event });

/** Up to `limit` runs, newest first. */
export async function listRuns(
  context: CliContext,
  query: Omit<RunQuery, "limit" | "after">,
  limit: number,
): Promise<RunSummary[]> {
  const runs: RunSummary[] = [];
  let after: string | undefined;
  do {
    const page = await ask(context, RunList, "/v1/runs", {
      query: { ...query, limit: Math.min(PAGE, limit - runs.length), after },
    });
    runs.push(...page.runs);
    after = page.next;
  } while (after !== undefined && runs.length < limit);
  return runs.slice(0, limit);
}

/** All lines, page by page. */
export async function* readHistory(
  context: CliContext,
  id: string,
): AsyncGenerator<HistoryLine, void, undefined> {
  let from: number | undefined = 0;
  while (from !== undefined) {
    const page: z.infer<typeof HistoryPage> = await ask(
      context,
      HistoryPage,
      await runPath(context, id, "/history"),
      { query: { from, limit: PAGE } },
    );
    yield* page.entries;
    from = page.next;
  }
}

/** The live stream: from the beginning, or after the event of this id. Ends when the connection does. */
export async function* streamRun(
  context: CliContext,
  id: string,
  lastEventId: string | undefined,
): AsyncGenerator<SseEvent, void, undefined> {
  const reply = await (await context.ops()).call(await runPath(context, id, "/stream"), {
    headers: {
      accept: "text/event-stream",
      ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }),
    },
    signal: context.signal,
    bodyTimeoutMs: 0,
  });
  yield* sseEvents(reply.body);
}

/** The picture of a run, coloured by where it is and was. */
export const runGraph = async (context: CliContext, id: string, format: "mermaid" | "svg"): Promise<string> =>
  picture(context, await runPath(context, id, "/graph"), format);

/** The picture of a workflow. */
export const workflowGraph = async (
  context: CliContext,
  name: string,
  format: "mermaid" | "svg",
): Promise<string> =>
  picture(
    context,
    `/v1/workflows/${encodeURIComponent(await context.namespace())}/${encodeURIComponent(name)}/graph`,
    format,
  );

async function picture(context: CliContext, path: string, format: "mermaid" | "svg"): Promise<string> {
  const reply = await (await context.ops()).call(path, { query: { format }, signal: context.signal });
  return reply.body.text();
}
