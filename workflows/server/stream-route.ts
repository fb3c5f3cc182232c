import { PassThrough } from "node:stream";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { RunKey } from "../core/run-record.ts";
import { parseRequest } from "./parse-request.ts";
import { historyLine, runView } from "./run-view.ts";
import { keyOf, type RunsRoutesDeps } from "./runs-routes.ts";

const PAGE = 200;
const LOOK_MS = 250;
const KEEP_ALIVE_MS = 15_000;

const LastEventId = z.object({ "last-event-id": z.coerce.number().int().nonnegative().optional() });

/** The live stream of a run (server-sent events): its history from the start or after `Last-Event-ID`, and its state whenever it changed. */
export function streamRoute(app: FastifyInstance, deps: RunsRoutesDeps): void {
  app.get("/v1/runs/:namespace/:id/stream", async (request, reply) => {
    const key = keyOf(request);
    await deps.runs.load(key);
    const last = parseRequest("follow a run", LastEventId, request.headers)["last-event-id"];
    const left = new AbortController();
    const out = new PassThrough();
    out.once("close", () => left.abort());
    void follow(deps, key, last === undefined ? 0 : last + 1, out, left.signal).then(
      () => out.end(),
      () => out.destroy(),
    );
    return reply
      .headers({
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        "x-accel-buffering": "no",
      })
      .send(out);
  });
}

async function follow(
  deps: RunsRoutesDeps,
  key: RunKey,
  from: number,
  out: PassThrough,
  signal: AbortSignal,
): Promise<void> {
  const write = async (text: string): Promise<void> => {
    if (out.write(text) || signal.aborted) return;
    // A reader that does not read holds up nobody but itself.
    await new Promise<void>((go) => {
      out.once("drain", go);
      signal.addEventListener("abort", () => go(), { once: true });
    });
  };
  let at = from;
  let version = -1;
  let spokeAt = performance.now();
  while (!signal.aborted) {
    const record = await deps.journal.load(key);
    if (!record) return;
    const entries = await deps.journal.history(key, at, PAGE);
    for (const entry of entries) {
      await write(`event: entry\nid: ${entry.seq}\ndata: ${JSON.stringify(historyLine(entry))}\n\n`);
      at = entry.seq + 1;
    }
    const changed = record.version !== version;
    if (changed) {
      version = record.version;
      await write(`event: run\ndata: ${JSON.stringify(await runView(record, deps.payloads))}\n\n`);
    }
    if (changed || entries.length > 0) spokeAt = performance.now();
    if (entries.length === PAGE) continue;
    if (record.status !== "running") return write("event: end\ndata: {}\n\n");
    if (performance.now() - spokeAt > KEEP_ALIVE_MS) {
      spokeAt = performance.now();
      await write(": still here\n\n");
    }
    await deps.changes.next(key, LOOK_MS, signal);
  }
}
