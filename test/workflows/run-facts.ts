import type { Json } from "../../workflows/core/json.ts";
import { RUN_FORMAT, type RunFacts } from "../../workflows/core/run-record.ts";

export const runFacts = (id: string, input: Json = null, change: Partial<RunFacts> = {}): RunFacts => ({
  key: { namespace: "shop", id },
  workflow: "order",
  workflowUid: "uid-1",
  generation: 1,
  definition: "digest-1",
  input: { value: input },
  pins: {},
  startedBy: "api",
  format: RUN_FORMAT,
  ...change,
});
