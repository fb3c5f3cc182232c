import { z } from "zod";

/**
 * The reference system's `startAt`/`states` format, with what is nested in it: the kind in `api/kinds/workflow.ts` leaves branches and nested conditions open,
 * since a CRD cannot be recursive. Fields of the wrong type are refused here; what fits together is checked by `check-format.ts`.
 */
const text = (max: number) => z.string().max(max);
const numeric = z.union([z.number(), text(64)]).optional();

const Condition = z.strictObject({
  variable: text(1024).optional(),
  stringEquals: text(4096).optional(),
  numericEquals: numeric,
  numericGreaterThan: numeric,
  numericLessThan: numeric,
  booleanEquals: z.boolean().optional(),
  isPresent: z.boolean().optional(),
  isNull: z.boolean().optional(),
});
export type Condition = z.infer<typeof Condition>;

const ChoiceRule = Condition.extend({
  and: z.array(Condition).max(16).optional(),
  or: z.array(Condition).max(16).optional(),
  not: Condition.optional(),
  next: text(128),
});
export type ChoiceRule = z.infer<typeof ChoiceRule>;

const Retry = z.strictObject({
  maxAttempts: z.int().optional(),
  backoffBase: text(32).optional(),
  backoffCap: text(32).optional(),
  jitter: z.boolean().optional(),
});
export type Retry = z.infer<typeof Retry>;

const CatchRoute = z.strictObject({
  errorType: text(128),
  next: text(128),
  resultPath: text(1024).optional(),
});
export type CatchRoute = z.infer<typeof CatchRoute>;

const FunctionRef = z.strictObject({
  type: z.enum(["name", "function-weights"]).optional(),
  name: text(63),
  alias: text(63).optional(),
  version: text(63).optional(),
  functionweights: z.record(z.string(), z.int()).optional(),
});

export const STATE_TYPES = ["Task", "Choice", "Parallel", "Map", "Wait", "Succeed", "Fail"] as const;

const State = z.strictObject({
  type: z.enum(STATE_TYPES),
  function: FunctionRef.optional(),
  timeout: text(32).optional(),
  retry: Retry.optional(),
  catch: z.array(CatchRoute).max(32).optional(),
  choices: z.array(ChoiceRule).max(64).optional(),
  default: text(128).optional(),
  get branches() {
    return z.array(Graph).max(10).optional();
  },
  get iterator() {
    return Graph.optional();
  },
  itemsPath: text(1024).optional(),
  maxConcurrency: z.int().min(0).max(1000).optional(),
  duration: text(64).optional(),
  inputPath: text(1024).optional(),
  resultPath: text(1024).optional(),
  outputPath: text(1024).optional(),
  next: text(128).optional(),
  end: z.boolean().optional(),
  error: text(256).optional(),
  cause: text(1024).optional(),
});
export type State = z.infer<typeof State>;

/** States and where they begin: a workflow, a branch, or what is done for each item. */
const Graph = z.strictObject({ startAt: z.string().min(1).max(128), states: z.record(z.string(), State) });
export type Graph = z.infer<typeof Graph>;

/** A whole `startAt`/`states` workflow. */
export const FormatSpec = Graph.extend({
  timeout: text(32).optional(),
  defaultRetry: Retry.optional(),
  historyRetention: z.strictObject({ maxAge: text(32).optional(), maxCount: z.int().optional() }).optional(),
});
export type FormatSpec = z.infer<typeof FormatSpec>;

/** What is done for each item of a Map, however it is written. */
export const iteratorOf = (state: State): Graph | undefined => state.iterator ?? state.branches?.[0];
