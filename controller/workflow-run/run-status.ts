import type { WorkflowRun, WorkflowRunStatus } from "../../api/kinds/index.ts";
import type { HistoryLine, RunView } from "../../api/wire/workflows.ts";
import { setConditions } from "../../kube/conditions.ts";

type Phase = NonNullable<WorkflowRunStatus["phase"]>;

const PHASES: Readonly<Record<RunView["status"], Phase>> = {
  running: "Running",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Cancelled",
  terminated: "Cancelled",
  "timed-out": "TimedOut",
};
const MAX_OUTPUT_BYTES = 256 * 2 ** 10;
const MAX_CAUSE = 1_024;
const MAX_STATES = 128;
export const MAX_EVENTS = 20;

export const hasEnded = (status: WorkflowRunStatus | undefined): boolean =>
  status?.phase !== undefined && status.phase !== "Pending" && status.phase !== "Running";

/** What a WorkflowRun says of its run. `events` = the newest lines of its history, the newest last. */
export function mirroredStatus(
  object: WorkflowRun,
  run: RunView,
  events: readonly HistoryLine[],
  now: Date,
): WorkflowRunStatus {
  const { error } = run;
  const phase = PHASES[run.status];
  const message = error ? `The run is ${run.status}: ${error.message}` : `The run is ${run.status}`;
  const { output: _, outputRef: __, cause: ___, errorType: ____, ...before } = object.status ?? {};
  return {
    ...before,
    ...(object.metadata.generation === undefined ? {} : { observedGeneration: object.metadata.generation }),
    phase,
    workflowGeneration: run.generation,
    activeStates: run.states.slice(0, MAX_STATES).map((state) => state.slice(0, 128)),
    startedAt: seconds(run.startedAt),
    ...(run.finishedAt === undefined ? {} : { finishedAt: seconds(run.finishedAt) }),
    ...(run.status === "succeeded" ? outputOf(run) : {}),
    ...(error ? { errorType: error.type.slice(0, 256), cause: error.message.slice(0, MAX_CAUSE) } : {}),
    recentEvents: events.slice(-MAX_EVENTS).map(eventOf),
    conditions: [
      ...setConditions(
        before.conditions,
        [{ type: "Ready", status: ready(phase), reason: phase, message: message.slice(0, MAX_CAUSE) }],
        { generation: object.metadata.generation, now },
      ),
    ],
  };
}

/** A run that has not started: `Pending` waits for something, `Failed` never will. */
export function unstartedStatus(
  object: WorkflowRun,
  phase: "Pending" | "Failed",
  problem: { readonly reason: string; readonly message: string },
  now: Date,
): WorkflowRunStatus {
  const { reason, message } = problem;
  return {
    ...object.status,
    ...(object.metadata.generation === undefined ? {} : { observedGeneration: object.metadata.generation }),
    phase,
    ...(phase === "Failed" ? { errorType: reason, cause: message.slice(0, MAX_CAUSE) } : {}),
    conditions: [
      ...setConditions(object.status?.conditions, [{ type: "Ready", status: "False", reason, message }], {
        generation: object.metadata.generation,
        now,
      }),
    ],
  };
}

const ready = (phase: Phase): "True" | "False" =>
  phase === "Running" || phase === "Succeeded" ? "True" : "False";

/** Kubernetes' times have no fractions. */
const seconds = (time: string): string => `${time.slice(0, 19)}Z`;

function outputOf(run: RunView): Pick<WorkflowRunStatus, "output" | "outputRef"> {
  const text = JSON.stringify(run.output ?? null);
  return Buffer.byteLength(text) > MAX_OUTPUT_BYTES
    ? { outputRef: `runs/${run.namespace}/${run.id}` }
    : { output: run.output ?? null };
}

function eventOf(line: HistoryLine): NonNullable<WorkflowRunStatus["recentEvents"]>[number] {
  const note = line.error ? `${line.error.type}: ${line.error.message}` : (line.note ?? line.event);
  return {
    seq: line.seq,
    type: line.type,
    at: seconds(line.at),
    ...(line.state ? { state: line.state.slice(0, 128) } : {}),
    ...(line.attempt === undefined ? {} : { attempt: line.attempt }),
    ...(note ? { note: note.slice(0, 1_024) } : {}),
  };
}
