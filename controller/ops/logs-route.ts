import type { FastifyInstance } from "fastify";
import { parseDurationMs } from "../../api/duration.ts";
import { PlatformError } from "../../api/errors.ts";
import { type LogLine, type LogLineLevel, LogQuery } from "../../api/wire/ops.ts";
import { ndjsonBody } from "../../net/ndjson-body.ts";
import { parseQuery } from "./parse-query.ts";

/** What is needed of the log store. */
export interface LogReader {
  query(filter: LogSelection, options: { order: "newest" | "oldest"; limit: number }): AsyncIterable<LogLine>;
  follow(filter: LogSelection, options: { limit: number; signal: AbortSignal }): AsyncIterable<LogLine>;
}

export interface LogSelection {
  namespace?: string | undefined;
  function?: string | undefined;
  revision?: string | undefined;
  pod?: string | undefined;
  requestId?: string | undefined;
  level?: LogLineLevel | undefined;
  search?: string | undefined;
  sinceMs?: number | undefined;
  untilMs?: number | undefined;
}

const HEARTBEAT_MS = 15_000;

/** `GET /v1/logs`: NDJSON. */
export function logsRoute(app: FastifyInstance, logs: LogReader, now: () => number = Date.now): void {
  app.get("/v1/logs", async (request, reply) => {
    const { since, until, limit, order, follow, ...rest } = parseQuery("read logs", LogQuery, request.query);
    const filter: LogSelection = {
      ...rest,
      sinceMs: pointInTime("since", since, now()),
      untilMs: pointInTime("until", until, now()),
    };
    const gone = new AbortController();
    reply.raw.once("close", () => gone.abort());
    const lines = follow
      ? logs.follow(filter, { limit, signal: gone.signal })
      : logs.query(filter, { order, limit });
    // Headers go at once, so that a follower knows it is connected.
    reply.header("content-type", "application/x-ndjson; charset=utf-8").header("cache-control", "no-store");
    return await reply.send(ndjsonBody(lines, { signal: gone.signal, heartbeatMs: HEARTBEAT_MS }));
  });
}

/** Milliseconds since the epoch of an RFC 3339 time, or of a duration back from now. */
function pointInTime(field: string, text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined || text === "") return undefined;
  const time = /^\d{4}-\d{2}-\d{2}T/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  try {
    return nowMs - parseDurationMs(text);
  } catch {
    throw new PlatformError(
      "bad_request",
      `Cannot read logs: "${field}" must be a time such as 2026-01-31T12:00:00Z or a duration such as 10m, got "${text}"`,
    );
  }
}
