import { z } from "zod";
import type { Json } from "../core/json.ts";
import { frameReader } from "./frame-reader.ts";

/**
 * What a definition host says. Its process runs strangers' code, so that nothing of it is believed before it is checked.
 * Frames are a uint32 (big-endian) length and that many bytes of JSON.
 */
const JsonValue = z.custom<Json>((value) => value !== undefined, "must be JSON");
const MachineEvent = z.looseObject({ type: z.string() }).catchall(JsonValue);
const ErrorFacts = z.object({ type: z.string(), message: z.string() });

const Action = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("invoke"), id: z.string(), actor: z.string(), input: JsonValue }),
  z.object({ kind: z.literal("stop"), id: z.string() }),
  z.object({
    kind: z.literal("timer"),
    id: z.string(),
    event: MachineEvent,
    delayMs: z.number().min(0),
  }),
  z.object({ kind: z.literal("cancel-timer"), id: z.string() }),
  z.object({ kind: z.literal("emit"), event: MachineEvent }),
  z.object({ kind: z.literal("log"), label: z.string(), value: JsonValue }),
]);

/** What `start` and `transition` answer. */
export const TransitionAnswer = z.object({
  snapshot: z.string().refine(isJsonObject, "must be the JSON text of an object"),
  status: z.enum(["active", "done", "error"]),
  output: JsonValue.optional(),
  error: ErrorFacts.optional(),
  actions: z.array(Action).max(100_000),
  states: z.array(z.string()),
  accepts: z.array(z.string()),
});

function isJsonObject(text: string): boolean {
  return text.startsWith("{") && text.endsWith("}");
}

const RetryRule = z.object({
  maxAttempts: z.int().min(1).max(1_000),
  backoffBaseMs: z.number().min(0),
  backoffCapMs: z.number().min(0),
  factor: z.number().min(1),
  jitter: z.number().min(0).max(1),
});
const StepRetry = RetryRule.extend({
  on: z.array(z.string()).optional(),
  perClass: z.record(z.string(), RetryRule).optional(),
});
const name = z.string().min(1).max(253);
const FunctionActor = z.object({
  kind: z.literal("function"),
  name,
  alias: name.optional(),
  version: name.optional(),
  method: z
    .string()
    .regex(/^[A-Z]{1,16}$/, "must be an HTTP method in capitals")
    .optional(),
  path: z.string().max(2048).startsWith("/").optional(),
  retry: StepRetry.optional(),
  attemptTimeoutMs: z.number().positive().optional(),
  totalTimeoutMs: z.number().positive().optional(),
  heartbeatMs: z.number().positive().optional(),
  waitForCallback: z.boolean().optional(),
  compensation: z.string().optional(),
});
const WorkflowActor = z.object({
  kind: z.literal("workflow"),
  name,
  parentClose: z.enum(["cancel", "abandon"]),
  retry: StepRetry.optional(),
  attemptTimeoutMs: z.number().positive().optional(),
  totalTimeoutMs: z.number().positive().optional(),
});
const MapActor = z.object({
  kind: z.literal("map"),
  each: z.discriminatedUnion("kind", [FunctionActor, WorkflowActor]),
  maxConcurrency: z.int().min(1).max(10_000),
  tolerated: z.union([z.number().min(0), z.object({ share: z.number().min(0).max(1) })]),
});

const GraphState = z.object({
  id: z.string(),
  key: z.string(),
  type: z.enum(["atomic", "compound", "parallel", "final", "history"]),
  initial: z.string().optional(),
  description: z.string().optional(),
  invokes: z.array(z.string()),
  transitions: z.array(
    z.object({ event: z.string(), targets: z.array(z.string()), guard: z.string().optional() }),
  ),
  get states() {
    return z.array(GraphState);
  },
});

export const DefinitionFactsAnswer = z.object({
  id: z.string().min(1).max(253),
  actors: z.record(z.string(), z.discriminatedUnion("kind", [FunctionActor, WorkflowActor, MapActor])),
  input: JsonValue.optional(),
  output: JsonValue.optional(),
  events: z.record(z.string(), JsonValue).optional(),
  timeoutMs: z.number().positive().optional(),
  graph: GraphState,
});

/** What `describe` answers. */
export const DescribeAnswer = z.object({
  facts: DefinitionFactsAnswer,
  problems: z.array(z.object({ code: z.string(), place: z.string(), message: z.string() })).max(1_000),
});

/** A frame of the host's. */
export const HostFrame = z.object({
  id: z.int().min(0),
  /** Processor time that answering took. */
  cpuMs: z.number().min(0),
  value: z.unknown().optional(),
  /** What it wrote to its console. */
  lines: z.array(z.object({ label: z.string(), value: z.string() })).optional(),
  threw: z.object({ name: z.string(), message: z.string(), stack: z.string() }).optional(),
  timedOut: z.boolean().optional(),
  /** It has no such definition. */
  missing: z.boolean().optional(),
  invalid: z.boolean().optional(),
  tooLarge: z.boolean().optional(),
});
export type HostFrame = z.infer<typeof HostFrame>;

const MAX_FRAME = 192 * 1024 * 1024;

/** Takes a host's bytes and gives its frames; `onWrong`, once, says what is none. */
export function hostFrames(
  onFrame: (frame: HostFrame) => void,
  onWrong: (detail: string) => void,
): (bytes: Buffer) => void {
  let wrong = false;
  const reader = frameReader(MAX_FRAME, (bytes) => {
    if (!wrong) onFrame(HostFrame.parse(JSON.parse(bytes.toString("utf8"))));
  });
  return (bytes) => {
    if (wrong) return;
    try {
      reader.push(bytes);
    } catch (error) {
      wrong = true;
      onWrong(error instanceof Error ? error.message : String(error));
    }
  };
}

/** What the host is asked. */
export interface HostRequest {
  readonly id: number;
  readonly digest: string;
  readonly method: "load" | "drop" | "describe" | "start" | "transition" | "checkInput" | "checkEvent";
  readonly timeoutMs: number;
  readonly args: readonly string[];
}
