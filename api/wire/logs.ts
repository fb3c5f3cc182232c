import { z } from "zod";
import { LOG_LINE_LEVELS, LogLine } from "./ops.ts";

/**
 * Log collectors (one on each node) and readers to the log store; signed calls, audience LOG_STORE_AUDIENCE. Collectors may sign with
 * a key of their own, which opens the first three only.
 *
 *   POST /v1/lines       CollectedLines → LinesStored. Lines up to a file's position are there already and are left out, so that a
 *                        call may be repeated until it is answered.
 *   GET  /v1/positions?node=<name>   LogPositions: how far each log file of a node is stored
 *   POST /v1/pods        PodsAsked → PodsKnown: which pods are the platform's
 *   POST /v1/read        LogRead → NDJSON of LogLine; blank lines keep the connection alive
 */
export const LOG_STORE_AUDIENCE = "log-store";

const position = z.int().min(0);
const nodeName = z.string().regex(/^[a-z0-9.-]{1,253}$/);
const podUid = z.string().max(64);

export const CollectedLine = z.object({
  line: LogLine,
  /** UID of the pod; whose it is tells the store by its labels. */
  uid: podUid,
  /** Identity of the log file on its node. */
  file: z.string().max(128),
  /** Offset behind the line. */
  offset: position,
});
export type CollectedLine = z.infer<typeof CollectedLine>;

export const CollectedLines = z.object({ node: nodeName, lines: z.array(CollectedLine).max(10_000) });
export type CollectedLines = z.infer<typeof CollectedLines>;

export const LinesStored = z.object({ stored: z.int().min(0) });

export const PositionsQuery = z.object({ node: nodeName });
export const LogPositions = z.object({ positions: z.record(z.string(), position) });

export const PodsAsked = z.object({ uids: z.array(podUid).max(5_000) });
export const PodsKnown = z.object({ ours: z.array(podUid) });

const name = z.string().max(253).optional();

export const LogRead = z.object({
  filter: z.object({
    namespace: name,
    function: name,
    revision: name,
    pod: name,
    requestId: z.string().max(192).optional(),
    level: z.enum(LOG_LINE_LEVELS).optional(),
    search: z.string().max(1024).optional(),
    /** Milliseconds since the epoch, both included. */
    sinceMs: z.number().optional(),
    untilMs: z.number().optional(),
  }),
  limit: z.int().min(1).max(100_000),
  order: z.enum(["newest", "oldest"]),
  /** The newest `limit` lines, oldest first, then each that comes. */
  follow: z.boolean(),
});
export type LogRead = z.infer<typeof LogRead>;
