import type { MessageQueueTrigger } from "../../../api/kinds/index.ts";
import type { Informer } from "../../../kube/informer.ts";
import { MESSAGE_QUEUE_TRIGGERS } from "../../../kube/kinds.ts";
import { isConflict, isNotFound } from "../../../kube/kube-error.ts";
import { mergePatch } from "../../../kube/merge-patch.ts";
import { keyOf } from "../../../kube/object.ts";
import type { PartDeps } from "../part.ts";
import type { TriggerMetrics } from "../trigger-metrics.ts";
import { type TriggerFault, triggerFault, typeOf } from "./check-trigger.ts";
import { errorText } from "./error-text.ts";
import type { KeptGroups } from "./kept-groups.ts";
import type { Holding, Leases } from "./leases.ts";
import { type RunningTrigger, type RunTriggerDeps, runTrigger } from "./run-trigger.ts";
import { type Rest, restFor } from "./trigger-rest.ts";
import { nextStatus } from "./trigger-status.ts";

/** What this replica does for one trigger. */
export interface Task {
  object: MessageQueueTrigger;
  /** Of the specification that it runs with. */
  generation: number | undefined;
  running: RunningTrigger | undefined;
  /** Why it could not begin. */
  failure: string | undefined;
  /** One thing at a time is done with it: this. */
  current: Promise<void> | undefined;
  /** When its latest change was seen; milliseconds since 1970. */
  changedAt: number | undefined;
  /** When its status was last compared, and when its Secret was last read; by the process's own clock. */
  saidAt: number;
  secretAt: number;
  /** Its connection was let go of, as nothing came. */
  rest: Rest | undefined;
}

export const newTask = (object: MessageQueueTrigger): Task => ({
  object,
  generation: undefined,
  running: undefined,
  failure: undefined,
  current: undefined,
  changedAt: undefined,
  saidAt: -Infinity,
  secretAt: performance.now(),
  rest: undefined,
});

export interface TaskDeps extends RunTriggerDeps {
  readonly client: PartDeps["client"];
  readonly functions: PartDeps["functions"];
  readonly withoutWorkflows?: boolean;
  readonly metrics: Pick<TriggerMetrics, "sourceLag" | "sourceConnected" | "sourceMessages">;
  readonly leases: Pick<Leases, "release">;
  readonly kept: Pick<KeptGroups, "note">;
  readonly informer: Pick<Informer<MessageQueueTrigger>, "get">;
  /** Between two looks at the Secret of a trigger, and between two that bring the numbers in its status up to date. */
  readonly lookMs: number;
  /** A trigger that was changed is consumed as it is now. */
  readonly onRestart: () => void;
}

export interface TaskKeeper {
  /** Brings one trigger to where it is to be. */
  attend(task: Task, holding: Holding): Promise<void>;
  close(task: Task, graceMs: number): Promise<void>;
  /** Says in the status why nobody takes the messages. */
  sayIdle(task: Task, fault: TriggerFault): Promise<void>;
}

/** What was under way when a trigger is changed or handed over may end within this. */
const GRACE_MS = 20_000;

/** What is done for one trigger at a time. */
export function taskKeeper(deps: TaskDeps): TaskKeeper {
  const { client, leases, informer, lookMs } = deps;

  const close = async (task: Task, graceMs: number): Promise<void> => {
    const { running } = task;
    task.running = undefined;
    await running?.consumer.close(graceMs);
    if (running) unmeasure(deps.metrics, task.object);
  };

  const start = async (task: Task): Promise<void> => {
    const { object } = task;
    const isChanged = task.generation !== undefined && task.generation !== object.metadata.generation;
    task.generation = object.metadata.generation;
    task.secretAt = performance.now();
    try {
      const since = await deps.kept.note(object, task.changedAt);
      task.running = await runTrigger(deps, object, since);
      task.failure = undefined;
      if (isChanged) deps.onRestart();
    } catch (error) {
      task.failure = errorText(error);
    }
  };

  const isOutdated = async (task: Task): Promise<boolean> => {
    const { running, object } = task;
    if (!running) return false;
    if (task.generation !== object.metadata.generation) return true;
    if (!object.spec.secret || performance.now() - task.secretAt < lookMs) return false;
    task.secretAt = performance.now();
    return running.secretChanged();
  };

  const say = async (task: Task, fault: TriggerFault | undefined): Promise<void> => {
    const object = informer.get(keyOf(task.object));
    if (!object) return;
    const { running } = task;
    const state = running?.state();
    const known = {
      fault,
      isResting: task.rest !== undefined,
      running: running && state && { state, stats: running.consumer.stats(), lag: object.status?.lag },
    };
    if (known.running) measure(deps.metrics, object, known.running);
    const next = nextStatus(object, known, new Date());
    const isUrgent =
      mergePatch(object.status?.conditions ?? [], next.conditions) !== undefined ||
      (next.lastError === undefined) !== (object.status?.lastError === undefined);
    if (!isUrgent && performance.now() - task.saidAt < lookMs) return;
    const lag = await running?.consumer.lag().catch(() => undefined);
    if (lag !== undefined) deps.metrics.sourceLag.series(labelsOf(object)).value = lag;
    const facts = { ...known, running: known.running && { ...known.running, lag } };
    const patch = mergePatch(object.status ?? {}, nextStatus(object, facts, new Date()));
    task.saidAt = performance.now();
    if (patch === undefined) return;
    try {
      await client.patchStatus(MESSAGE_QUEUE_TRIGGERS, object.metadata, patch, {
        resourceVersion: object.metadata.resourceVersion,
      });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
      // Somebody has changed it meanwhile: said in the next round.
      task.saidAt = -Infinity;
    }
  };

  const rest = restFor(deps);
  const attend = async (task: Task, holding: Holding): Promise<void> => {
    const { object } = task;
    const fault = triggerFault(object, deps);
    const takesPart = holding === "held" || holding === "member";
    if (!takesPart || fault || (await isOutdated(task))) {
      await close(task, GRACE_MS);
      task.failure = undefined;
      task.rest = undefined;
      if (holding === "surplus") await leases.release(object.metadata.uid ?? "");
      if (!takesPart) return;
    }
    if (!fault && !task.running && (await rest.isOver(task))) await start(task);
    if (await rest.isDue(task)) {
      await close(task, GRACE_MS);
      task.rest = { since: performance.now(), lookedAt: performance.now() };
    }
    // The replica with the first place speaks for all.
    if (holding === "member") return;
    const failed = task.failure === undefined ? undefined : { reason: "CannotStart", message: task.failure };
    await say(task, fault ?? failed);
  };

  return {
    attend,
    close,
    sayIdle: (task, fault) => say(task, triggerFault(task.object, deps) ?? fault),
  };
}

const labelsOf = (object: MessageQueueTrigger) => ({
  namespace: object.metadata.namespace ?? "default",
  trigger: object.metadata.name,
  type: typeOf(object),
});

function measure(
  { sourceConnected, sourceMessages }: TaskDeps["metrics"],
  object: MessageQueueTrigger,
  {
    state,
    stats,
  }: { state: ReturnType<RunningTrigger["state"]>; stats: ReturnType<RunningTrigger["consumer"]["stats"]> },
): void {
  const labels = labelsOf(object);
  sourceConnected.series(labels).value = Number(state.connected);
  const outcomes = { delivered: stats.delivered, failed: stats.failed, "dead-lettered": stats.buried };
  for (const [outcome, count] of Object.entries(outcomes))
    sourceMessages.series({ ...labels, outcome }).value = count;
}

/** Its numbers are another replica's from now on, or nobody's. */
function unmeasure(metrics: TaskDeps["metrics"], object: MessageQueueTrigger): void {
  const labels = labelsOf(object);
  for (const metric of [metrics.sourceConnected, metrics.sourceLag, metrics.sourceMessages])
    metric.remove(labels);
}
