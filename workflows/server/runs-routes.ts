import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import { PlatformError } from "../../api/errors.ts";
import {
  EndRun,
  HistoryQuery,
  RunId,
  type RunList,
  RunQuery,
  type RunView,
  SendEvent,
  StartRun,
  WaitQuery,
} from "../../api/wire/workflows.ts";
import type { RunKey, RunRecord } from "../core/run-record.ts";
import type { Journal, RunFilter } from "../journal/journal.ts";
import type { Payloads } from "../worker/ports.ts";
import { parseRequest } from "./parse-request.ts";
import type { RunChanges } from "./run-changes.ts";
import { historyLine, runView, summaryView } from "./run-view.ts";
import type { Runs } from "./runs.ts";
import type { StartRun as Starter } from "./start-run.ts";

export interface RunsRoutesDeps {
  readonly journal: Pick<Journal, "load" | "history" | "list">;
  readonly payloads: Pick<Payloads, "load">;
  readonly start: Starter;
  readonly runs: Runs;
  readonly changes: Pick<RunChanges, "next" | "end">;
}

const RunAddress = z.object({ namespace: z.string().max(63), id: RunId });
const MAX_BODY_BYTES = 64 * 2 ** 20;
/** Runs that other processes work on are looked at with growing pauses. */
const FIRST_LOOK_MS = 5;
const LAST_LOOK_MS = 250;

/** Starting, showing, steering and awaiting runs. */
export function runsRoutes(app: FastifyInstance, deps: RunsRoutesDeps): void {
  const view = (record: RunRecord): Promise<RunView> => runView(record, deps.payloads);
  app.post("/v1/runs", { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
    const asked = parseRequest("start a run", StartRun, request.body);
    const { created, record } = await deps.start({
      ...asked,
      input: asked.input ?? null,
      startedBy: asked.startedBy ?? "api",
    });
    return reply.code(created ? 201 : 200).send(await view(record));
  });
  app.get("/v1/runs", async (request): Promise<RunList> => {
    const query = parseRequest("list runs", RunQuery, request.query);
    const { runs, next } = await deps.journal.list(filterOf(query));
    return { runs: runs.map(summaryView), ...(next === undefined ? {} : { next }) };
  });
  app.get("/v1/runs/:namespace/:id", async (request) => view(await deps.runs.load(keyOf(request))));
  app.get("/v1/runs/:namespace/:id/history", async (request) => {
    const key = keyOf(request);
    const { from, limit } = parseRequest("show a run's history", HistoryQuery, request.query);
    await deps.runs.load(key);
    const entries = await deps.journal.history(key, from, limit);
    const last = entries.at(-1);
    const more = entries.length === limit && last ? { next: last.seq + 1 } : {};
    return { entries: entries.map(historyLine), ...more };
  });
  app.get("/v1/runs/:namespace/:id/wait", async (request, reply) => {
    const { timeoutMs } = parseRequest("wait for a run", WaitQuery, request.query);
    const left = new AbortController();
    reply.raw.once("close", () => left.abort());
    const record = await awaitEnd(deps, keyOf(request), timeoutMs, left.signal);
    return reply.code(record.status === "running" ? 202 : 200).send(await view(record));
  });
  app.post("/v1/runs/:namespace/:id/events", { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
    const event = parseRequest("send an event", SendEvent, request.body);
    return reply.code(202).send(await deps.runs.send(keyOf(request), event));
  });
  for (const how of ["cancel", "terminate"] as const) {
    app.post(`/v1/runs/:namespace/:id/${how}`, async (request, reply) => {
      const { reason } = parseRequest(`${how} a run`, EndRun, request.body);
      return reply.code(202).send(await view(await deps.runs.end(keyOf(request), how, reason)));
    });
  }
  app.post("/v1/runs/:namespace/:id/retry", async (request, reply) =>
    reply.code(202).send(await view(await deps.runs.retry(keyOf(request)))),
  );
}

export const keyOf = (request: Pick<FastifyRequest, "params">): RunKey =>
  parseRequest("find a run", RunAddress, request.params);

async function awaitEnd(
  { runs, changes }: RunsRoutesDeps,
  key: RunKey,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<RunRecord> {
  const until = performance.now() + timeoutMs;
  let pauseMs = FIRST_LOOK_MS;
  for (;;) {
    const record = await runs.load(key);
    const leftMs = until - performance.now();
    if (record.status !== "running" || leftMs <= 0 || signal.aborted) return record;
    await changes.end(key, Math.min(pauseMs, leftMs), signal);
    pauseMs = Math.min(pauseMs * 2, LAST_LOOK_MS);
  }
}

function filterOf({ namespace, workflow, status, since, until, limit, after }: RunQuery): RunFilter {
  return {
    namespace,
    limit,
    ...(workflow === undefined ? {} : { workflow }),
    ...(status === undefined ? {} : { status }),
    ...(since === undefined ? {} : { startedAfter: timeOf("since", since) }),
    ...(until === undefined ? {} : { startedBefore: timeOf("until", until) }),
    ...(after === undefined ? {} : { after }),
  };
}

function timeOf(name: string, text: string): number {
  const ms = Date.parse(text);
  if (Number.isFinite(ms)) return ms;
  throw new PlatformError(
    "bad_request",
    `Cannot list runs: "${name}" must be a time (RFC 3339), got "${text}"`,
  );
}
