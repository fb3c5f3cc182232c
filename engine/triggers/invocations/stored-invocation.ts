import { z } from "zod";
import type {
  DestinationReport,
  Invocation,
  InvocationFacts,
  InvocationResult,
  InvocationStatus,
} from "./journal.ts";
import { INVOCATION_STATUSES } from "./journal.ts";

/** Fields of a record that everything but its bodies is read from. */
export const SUMMARY_FIELDS = [
  "fn",
  "facts",
  "status",
  "acceptedAt",
  "ageFrom",
  "dueAt",
  "startedAt",
  "endedAt",
  "tries",
  "failures",
  "lost",
  "redrives",
  "failureStatus",
  "failureReason",
  "failureMessage",
  "failureAt",
  "destination",
  "spill",
] as const;

type Fields = ReadonlyMap<string, Buffer>;

const Target = z.object({
  type: z.enum(["name", "function-weights", "workflow"]),
  name: z.string(),
  alias: z.string().optional(),
  version: z.string().optional(),
  functionweights: z.record(z.string(), z.number()).optional(),
});
const Destination = z.object({
  function: Target.optional(),
  topic: z
    .object({
      messageQueueType: z.string(),
      topic: z.string(),
      metadata: z.record(z.string(), z.string()).optional(),
      secret: z.string().optional(),
      inReplyTo: z
        .object({ key: z.string().optional(), headers: z.record(z.string(), z.string()) })
        .optional(),
    })
    .optional(),
});
const StoredFacts: z.ZodType<InvocationFacts> = z.object({
  id: z.string(),
  namespace: z.string(),
  target: Target,
  pinned: z.boolean(),
  source: z.string(),
  event: z.object({
    id: z.string(),
    namespace: z.string(),
    method: z.string(),
    path: z.string(),
    headers: z.record(z.string(), z.string()),
  }),
  payloadBytes: z.number(),
  depth: z.number(),
  policy: z.object({
    maxAttempts: z.number(),
    backoffBaseMs: z.number(),
    backoffCapMs: z.number(),
    jitter: z.boolean(),
    maxAgeMs: z.number(),
  }),
  onSuccess: Destination.optional(),
  onFailure: Destination.optional(),
});
const StoredReport: z.ZodType<DestinationReport> = z.object({
  at: z.number(),
  to: z.string(),
  invocationId: z.string().optional(),
  error: z.string().optional(),
});
const StoredHeaders = z.record(z.string(), z.string());

/** Reply of HGETALL as a map. */
export function fieldsOf(reply: unknown): Fields {
  const fields = new Map<string, Buffer>();
  if (!Array.isArray(reply)) return fields;
  for (let i = 0; i + 1 < reply.length; i += 2) {
    const name: unknown = reply[i];
    const value: unknown = reply[i + 1];
    if (Buffer.isBuffer(name) && Buffer.isBuffer(value)) fields.set(name.toString("utf8"), value);
  }
  return fields;
}

/** The invocation of a record; undefined when there is none. */
export function invocationOf(fields: Fields): Invocation | undefined {
  const text = (name: string): string | undefined => fields.get(name)?.toString("utf8");
  const number = (name: string): number | undefined => {
    const value = text(name);
    return value === undefined ? undefined : Number(value);
  };
  const facts = text("facts");
  const queue = text("fn");
  if (facts === undefined || queue === undefined) return undefined;
  const reason = text("failureReason");
  const destination = text("destination");
  return {
    ...StoredFacts.parse(JSON.parse(facts)),
    queue,
    status: statusOf(text("status")),
    acceptedAt: number("acceptedAt") ?? 0,
    ageFrom: number("ageFrom") ?? 0,
    dueAt: number("dueAt") ?? 0,
    startedAt: number("startedAt"),
    endedAt: number("endedAt"),
    tries: number("tries") ?? 0,
    failures: number("failures") ?? 0,
    lost: number("lost") ?? 0,
    redrives: number("redrives") ?? 0,
    failure:
      reason === undefined
        ? undefined
        : {
            status: number("failureStatus") ?? 0,
            reason,
            message: text("failureMessage") ?? "",
            at: number("failureAt") ?? 0,
          },
    result: resultOf(fields),
    destination: destination === undefined ? undefined : StoredReport.parse(JSON.parse(destination)),
    spill: text("spill"),
    body: fields.get("body"),
  };
}

function statusOf(text: string | undefined): InvocationStatus {
  const status = INVOCATION_STATUSES.find((known) => known === text);
  if (!status) throw new TypeError(`Cannot read an invocation: its status is ${JSON.stringify(text)}`);
  return status;
}

function resultOf(fields: Fields): InvocationResult | undefined {
  const status = fields.get("resultStatus");
  if (!status) return undefined;
  return {
    status: Number(status.toString("utf8")),
    headers: StoredHeaders.parse(JSON.parse(fields.get("resultHeaders")?.toString("utf8") ?? "{}")),
    body: fields.get("resultBody") ?? Buffer.alloc(0),
    ...elsewhereOf(fields),
  };
}

function elsewhereOf(fields: Fields): Pick<InvocationResult, "elsewhere"> {
  const bytes = fields.get("resultBytes");
  if (!bytes) return {};
  return {
    elsewhere: {
      bytes: Number(bytes.toString("utf8")),
      spill: fields.get("resultSpill")?.toString("utf8"),
      lost: fields.get("resultLost")?.toString("utf8"),
    },
  };
}
