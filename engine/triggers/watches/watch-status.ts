import type { KubernetesWatchTrigger, KubernetesWatchTriggerStatus } from "../../../api/kinds/index.ts";
import type { KubeClient } from "../../../kube/client.ts";
import { type ConditionUpdate, rfc3339, setConditions } from "../../../kube/conditions.ts";
import { isNotFound } from "../../../kube/kube-error.ts";
import { KUBERNETES_WATCH_TRIGGERS } from "../../../kube/kinds.ts";
import { mergePatch } from "../../../kube/merge-patch.ts";
import { after, createReconciler, done } from "../../../kube/reconcile.ts";
import type { Log } from "../../../net/log.ts";
import { targetFault, type TargetWorld } from "../delivery/target-fault.ts";
import { WatchFault } from "./watched-kind.ts";

/** Writes what is known of a trigger that this replica follows into its status. */
export interface WatchReporter {
  /** `error` undefined: its objects are followed. */
  report(trigger: string, error: unknown): void;
  /** A change was accepted. */
  event(trigger: string): void;
  /** So many changes have come that are not dealt with. */
  lag(trigger: string, changes: number): void;
  /** Another replica follows it: what it says counts. */
  forget(trigger: string): void;
  stop(): Promise<void>;
}

export interface WatchReporterDeps extends TargetWorld {
  readonly client: Pick<KubeClient, "patchStatus">;
  readonly find: (trigger: string) => KubernetesWatchTrigger | undefined;
  readonly log: Log;
  readonly now: () => Date;
}

interface State {
  error: unknown;
  accepted: number;
  lag: number;
  shownLag: number;
  eventAt: Date | undefined;
  writtenAt: number;
}

const PAUSE_MS = 1_000;
/** A function that is made later makes its trigger ready; one that goes later makes it unready. */
const LOOK_AGAIN_MS = 5_000;

export function watchReporter(deps: WatchReporterDeps): WatchReporter {
  const states = new Map<string, State>();
  const writer = createReconciler({
    name: "KubernetesWatchTrigger status",
    concurrency: 2,
    reconcile: async (key) => {
      const [trigger, state] = [deps.find(key), states.get(key)];
      if (!trigger || !state) {
        states.delete(key);
        return done;
      }
      const waitMs = state.writtenAt + PAUSE_MS - performance.now();
      if (waitMs > 0) return after(waitMs);
      const patch = mergePatch(trigger.status ?? {}, statusOf(deps, trigger, state));
      if (patch === undefined) return after(LOOK_AGAIN_MS);
      state.writtenAt = performance.now();
      state.shownLag = state.lag;
      await deps.client
        .patchStatus(KUBERNETES_WATCH_TRIGGERS, trigger.metadata, patch)
        .catch((error: unknown) => {
          if (!isNotFound(error)) throw error;
        });
      return after(LOOK_AGAIN_MS);
    },
    onError: (trigger, error) =>
      deps.log.debug("Cannot write the status of a trigger; trying again", { trigger, error }),
  });
  writer.start();
  const stateOf = (trigger: string): State => {
    const known = states.get(trigger);
    if (known) return known;
    const made: State = {
      error: undefined,
      accepted: 0,
      lag: 0,
      shownLag: 0,
      eventAt: undefined,
      writtenAt: -Infinity,
    };
    states.set(trigger, made);
    return made;
  };
  return {
    report: (trigger, error) => {
      const state = stateOf(trigger);
      // News of another kind does not wait.
      if (messageOf(state.error) !== messageOf(error)) state.writtenAt = -Infinity;
      state.error = error;
      writer.queue.add(trigger);
    },
    event: (trigger) => {
      const state = stateOf(trigger);
      state.eventAt = deps.now();
      state.accepted++;
      writer.queue.add(trigger);
    },
    lag: (trigger, changes) => {
      const state = stateOf(trigger);
      state.lag = changes;
      if (changes === 0 && state.shownLag > 0) writer.queue.add(trigger);
    },
    forget: (trigger) => void states.delete(trigger),
    stop: () => writer.stop(),
  };
}

function messageOf(error: unknown): string | undefined {
  if (error === undefined) return undefined;
  return error instanceof Error && error.message !== "" ? error.message : "The objects cannot be followed";
}

function statusOf(
  deps: WatchReporterDeps,
  trigger: KubernetesWatchTrigger,
  { error, accepted, lag, eventAt }: State,
): KubernetesWatchTriggerStatus {
  const { generation } = trigger.metadata;
  const updates = conditionsOf(deps, trigger, error);
  const { lastError: _, ...shown } = trigger.status ?? {};
  const message = messageOf(error);
  return {
    ...shown,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    conditions: [...setConditions(trigger.status?.conditions, updates, { generation, now: deps.now() })],
    connected: error === undefined,
    accepted,
    lag,
    ...(eventAt ? { lastEventTime: rfc3339(eventAt) } : {}),
    ...(message === undefined ? {} : { lastError: message.slice(0, 2_048) }),
  };
}

function conditionsOf(
  world: WatchReporterDeps,
  { metadata, spec }: KubernetesWatchTrigger,
  error: unknown,
): ConditionUpdate[] {
  const message = messageOf(error);
  if (message !== undefined) {
    const reason = error instanceof WatchFault ? error.reason : "WatchFailed";
    return ["Subscribed", "Ready"].map((type) => ({ type, status: "False", reason, message }));
  }
  const namespace = metadata.namespace ?? "default";
  const subscribed: ConditionUpdate = {
    type: "Subscribed",
    status: "True",
    reason: "Watching",
    message: `Changes of ${spec.kind ?? spec.type ?? ""} objects in namespace "${namespace}" are followed`,
  };
  const fault = targetFault(spec.functionref, namespace, world);
  return [
    subscribed,
    fault ? { type: "Ready", status: "False", ...fault } : { ...subscribed, type: "Ready" },
  ];
}
