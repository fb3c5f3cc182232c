import { PlatformError } from "../../api/errors.ts";
import { childRunKey } from "../core/child-run-key.ts";
import type { Json } from "../core/json.ts";
import type { Outcome, RunFacts, RunRecord } from "../core/run-record.ts";
import type { Performed } from "./ports.ts";

export interface ChildRequest {
  readonly parent: NonNullable<RunFacts["parent"]>;
  readonly workflow: string;
  readonly input: Json;
}

/** Starts a child run, or finds it: its id follows from the parent's step and attempt. Its end is a message to the parent. */
export type StartChild = (request: ChildRequest) => Promise<Performed>;

/** How runs are started; rejects with `PlatformError`. */
type Start = (request: {
  readonly namespace: string;
  readonly workflow: string;
  readonly id: string;
  readonly input: Json;
  readonly startedBy: string;
  readonly parent?: RunFacts["parent"];
}) => Promise<{ readonly record: RunRecord }>;

const OVERLOAD_MS = 1_000;

export function childStarter(start: Start): StartChild {
  return async ({ parent, workflow, input }) => {
    const { namespace, id } = childRunKey(parent.key, parent.token, parent.attempt);
    try {
      const { record } = await start({
        namespace,
        workflow,
        id,
        input,
        startedBy: `parent:${parent.key.namespace}/${parent.key.id}/${parent.token}`,
        parent,
      });
      return endOf(record) ?? { kind: "waiting" };
    } catch (error) {
      if (!(error instanceof PlatformError)) throw error;
      if (error.code === "workflow_not_ready")
        return { kind: "later", afterMs: error.retryAfterMs ?? OVERLOAD_MS, reason: error.message };
      if (error.code === "workflow_not_found" || error.status === 422 || error.status === 409)
        return { kind: "failed", error: { type: "Fission.PermanentError", message: error.message } };
      throw error;
    }
  };
}

/** What a run that has ended means to the step that started it; undefined while it goes on. */
function endOf(record: RunRecord): Outcome | undefined {
  if (record.status === "running") return undefined;
  if (record.status === "succeeded") return { kind: "done", output: record.output ?? { value: null } };
  const message = `Run "${record.facts.key.id}" of workflow "${record.facts.workflow}" is ${record.status}`;
  const type = record.status === "timed-out" ? "Fission.Timeout" : "Fission.Failed";
  return { kind: "failed", error: record.error ?? { type, message } };
}
