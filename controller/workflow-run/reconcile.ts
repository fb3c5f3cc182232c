import { PlatformError } from "../../api/errors.ts";
import type { WorkflowRun } from "../../api/kinds/index.ts";
import { ANNOTATION_CANCEL_REQUESTED, FINALIZER_WORKFLOW_RUN } from "../../api/names.ts";
import { type HistoryLine, HistoryPage, RunView } from "../../api/wire/workflows.ts";
import { NO_WORKFLOW_SERVICE } from "../../api/workflow-errors.ts";
import { addFinalizer, removeFinalizer } from "../../kube/finalizers.ts";
import { WORKFLOW_RUNS } from "../../kube/kinds.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { after, done, type Outcome, type Reconcile } from "../../kube/reconcile.ts";
import type { SignedClient } from "../../net/signed-client.ts";
import { type ControllerContext, writeStatus } from "../context.ts";
import { hasEnded, MAX_EVENTS, mirroredStatus, unstartedStatus } from "./run-status.ts";

/**
 * Starts a run for each WorkflowRun, and says in its status how it goes.
 *
 * Invariants:
 * 1. One object has one run: its id follows from the object's UID, so that starting it again finds it.
 * 2. An object whose run has ended is not looked at any more.
 * 3. A WorkflowRun that is deleted, or whose cancellation is asked for, cancels its run: the object stays until the run was told, whoever is away meanwhile.
 */
export type RunsClient = Pick<SignedClient, "postJson" | "getJson">;

const WAITING_MS = 2_000;
const FIRST_LOOK_MS = 500;
const LAST_LOOK_MS = 30_000;
/** Runs are looked at in steps of this part of their age. */
const AGE_SHARE = 0.1;
const PAGE = 1_000;
const MAX_NAME = 90;

export function workflowRunReconcile(context: ControllerContext, runs: RunsClient | undefined): Reconcile {
  const { client, world, now } = context;
  const own = createOwnWrites();
  const histories = new Map<string, HistoryLine[]>();
  const forget = (key: string): void => {
    own.forget(key);
    histories.delete(key);
  };

  const look = async (key: string, object: WorkflowRun, api: RunsClient): Promise<Outcome> => {
    const run = await startedRun(object, api);
    if (run.status === "running" && object.metadata.annotations?.[ANNOTATION_CANCEL_REQUESTED] && !run.ending)
      await cancel(api, run.namespace, run.id, "asked for by annotation");
    const lines = await newestLines(api, run, histories.get(key) ?? []);
    histories.set(key, lines);
    await writeStatus(client, WORKFLOW_RUNS, object, mirroredStatus(object, run, lines, now()), own);
    if (run.status !== "running") {
      histories.delete(key);
      return done;
    }
    const ageMs = now().getTime() - Date.parse(run.startedAt);
    return after(Math.min(LAST_LOOK_MS, Math.max(FIRST_LOOK_MS, ageMs * AGE_SHARE)));
  };

  return async (key) => {
    const object = world.workflowRuns.get(key);
    if (!object || object.metadata.deletionTimestamp) {
      forget(key);
      return object ? letGo(context, object, runs) : done;
    }
    if (hasEnded(object.status)) {
      if (object.metadata.finalizers?.includes(FINALIZER_WORKFLOW_RUN))
        await removeFinalizer(client, WORKFLOW_RUNS, object, FINALIZER_WORKFLOW_RUN);
      return done;
    }
    if (own.isStale(key, object)) return done;
    try {
      if (!runs) throw new PlatformError("workflows_unavailable", NO_WORKFLOW_SERVICE);
      const other = otherGeneration(object, world);
      if (other !== undefined) {
        await writeStatus(
          client,
          WORKFLOW_RUNS,
          object,
          unstartedStatus(object, "Failed", other, now()),
          own,
        );
        return done;
      }
      const guarded = await addFinalizer(client, WORKFLOW_RUNS, object, FINALIZER_WORKFLOW_RUN);
      return guarded ? await look(key, guarded, runs) : done;
    } catch (error) {
      if (isNotFound(error)) return done;
      if (!(error instanceof PlatformError)) throw error;
      return refused(context, object, error, own);
    }
  };
}

/** Cancels the run of an object that is deleted, then lets the object go. */
async function letGo(
  { client }: ControllerContext,
  object: WorkflowRun,
  runs: RunsClient | undefined,
): Promise<Outcome> {
  if (!object.metadata.finalizers?.includes(FINALIZER_WORKFLOW_RUN)) return done;
  try {
    const { namespace = "default" } = object.metadata;
    if (runs && !hasEnded(object.status))
      await cancel(runs, namespace, runId(object), "its WorkflowRun was deleted");
  } catch (error) {
    if (!(error instanceof PlatformError)) throw error;
    return after(WAITING_MS);
  }
  await removeFinalizer(client, WORKFLOW_RUNS, object, FINALIZER_WORKFLOW_RUN);
  return done;
}

/** A run that asks for a generation of its Workflow gets that one or none. */
function otherGeneration(
  { metadata, spec, status }: WorkflowRun,
  { workflows }: ControllerContext["world"],
): { reason: string; message: string } | undefined {
  const asked = spec.workflowGeneration;
  if (asked === undefined || status?.phase === "Running") return undefined;
  const workflow = workflows.get(`${metadata.namespace ?? "default"}/${spec.workflowRef}`);
  const made = workflow?.status?.definition?.generation;
  if (made === undefined || made <= asked) return undefined;
  const message = `Generation ${asked} of Workflow "${spec.workflowRef}" is asked for, and it is at ${made}: leave out spec.workflowGeneration, or set it to ${made}`;
  return { reason: "GenerationNotFound", message };
}

async function refused(
  { client, now }: ControllerContext,
  object: WorkflowRun,
  error: PlatformError,
  own: ReturnType<typeof createOwnWrites>,
): Promise<Outcome> {
  const begun = object.status?.phase === "Running";
  // One that waits for its Workflow may have it any time; a faulty one will not get better.
  const waits = error.status >= 500 || error.code === "workflow_not_found" || error.code === "run_not_found";
  const problem = { reason: REASONS[error.code] ?? "Refused", message: error.message };
  if (!begun) {
    const status = unstartedStatus(object, waits ? "Pending" : "Failed", problem, now());
    await writeStatus(client, WORKFLOW_RUNS, object, status, own);
  }
  return waits ? after(WAITING_MS) : done;
}

const REASONS: Partial<Record<PlatformError["code"], string>> = {
  workflow_not_found: "WorkflowNotFound",
  workflow_not_ready: "WorkflowNotReady",
  workflow_input_invalid: "InvalidInput",
  workflows_unavailable: "ServiceUnavailable",
  redis_unavailable: "ServiceUnavailable",
};

/** The id of an object's run: readable, and another one for another object of that name. */
const runId = ({ metadata }: WorkflowRun): string =>
  `${metadata.name.slice(0, MAX_NAME)}-${metadata.uid ?? ""}`.slice(0, 128);

async function startedRun(object: WorkflowRun, api: RunsClient): Promise<RunView> {
  const { namespace = "default", name } = object.metadata;
  const id = runId(object);
  if (object.status?.phase === "Running") return api.getJson(`/v1/runs/${namespace}/${id}`, RunView);
  const { workflowRef, input } = object.spec;
  const start = {
    namespace,
    workflow: workflowRef,
    id,
    startedBy: `object:${name}`,
    ...(input === undefined ? {} : { input }),
  };
  return api.postJson("/v1/runs", start, RunView);
}

/** The newest lines of a run's history: those that are known and what came after them. */
async function newestLines(
  api: RunsClient,
  { namespace, id }: RunView,
  known: readonly HistoryLine[],
): Promise<HistoryLine[]> {
  let lines = [...known];
  let from = (lines.at(-1)?.seq ?? -1) + 1;
  for (;;) {
    const target = `/v1/runs/${namespace}/${id}/history?from=${from}&limit=${PAGE}`;
    const { entries, next } = await api.getJson(target, HistoryPage);
    lines = [...lines, ...entries.map(slim)].slice(-MAX_EVENTS);
    if (next === undefined) return lines;
    from = next;
  }
}

/** The status shows no payloads, and they may be large. */
function slim(entry: HistoryLine): HistoryLine {
  const { payload: _, ...line } = entry;
  return line;
}

async function cancel(api: RunsClient, namespace: string, id: string, reason: string): Promise<void> {
  try {
    await api.postJson(`/v1/runs/${namespace}/${id}/cancel`, { reason }, RunView);
  } catch (error) {
    const over = error instanceof PlatformError && (error.status === 404 || error.status === 409);
    if (!over) throw error;
  }
}
