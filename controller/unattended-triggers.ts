import type { KubernetesWatchTrigger, MessageQueueTrigger } from "../api/kinds/index.ts";
import { type ConditionUpdate, setConditions } from "../kube/conditions.ts";
import { createInformer, type Informer } from "../kube/informer.ts";
import { KUBERNETES_WATCH_TRIGGERS, MESSAGE_QUEUE_TRIGGERS } from "../kube/kinds.ts";
import { isNotFound } from "../kube/kube-error.ts";
import { createOwnWrites } from "../kube/own-writes.ts";
import { createReconciler, done, type Reconcile, type Reconciler } from "../kube/reconcile.ts";
import type { ResourceType } from "../kube/resource.ts";
import { regularly } from "../net/regularly.ts";
import { watchWarnings } from "../net/watch-warnings.ts";
import { type ControllerContext, writeStatus } from "./context.ts";

/**
 * Says of triggers that nobody works for them, once no trigger service has answered for a while: what its replicas have said of them is old, and they cannot
 * take it back. Invariants:
 * 1. A status is written when the service goes, and when a trigger is made while it is gone; not again, for a replica that this process cannot reach may know better.
 * 2. What is so afterwards the service says itself: its replicas look again and again whether the status is as they know it.
 */
export interface UnattendedTriggers {
  /** Whether no trigger service has answered for `goneMs`. */
  isGone(): boolean;
  start(): void;
  stop(): Promise<void>;
  readonly reconcilers: readonly Reconciler[];
}

export interface TriggerServiceProbe {
  /** Whether any replica answers. */
  readonly answers: () => Promise<boolean>;
  readonly everyMs?: number;
  readonly goneMs?: number;
}

type Trigger = KubernetesWatchTrigger | MessageQueueTrigger;

const EVERY_MS = 5_000;
/** Longer than a rollout with a gap takes, and than a node that is short of processors makes answers late. */
const GONE_MS = 30_000;

export const NO_TRIGGER_SERVICE: Pick<ConditionUpdate, "reason" | "message"> = {
  reason: "NoTriggerService",
  message: "No trigger service answers: nothing comes of this until one does, see `isotope status`",
};

/** @param onChange it has gone, or is back */
export function unattendedTriggers(
  context: Pick<ControllerContext, "client" | "log" | "now">,
  { answers, everyMs = EVERY_MS, goneMs = GONE_MS }: TriggerServiceProbe,
  onChange: () => void,
): UnattendedTriggers {
  const stopping = new AbortController();
  let heardAt = performance.now();
  let gone = false;
  let probing: Promise<void> | undefined;
  const parts = [
    part<KubernetesWatchTrigger>(context, KUBERNETES_WATCH_TRIGGERS, "Subscribed", () => gone),
    part<MessageQueueTrigger>(context, MESSAGE_QUEUE_TRIGGERS, "BindingReady", () => gone),
  ];
  const probe = async (): Promise<void> => {
    if (await answers()) heardAt = performance.now();
    const isGone = performance.now() - heardAt > goneMs;
    if (isGone === gone) return;
    gone = isGone;
    if (gone) context.log.warn("No trigger service answers", { forMs: goneMs });
    else context.log.info("A trigger service answers again");
    if (gone) for (const { enqueueAll } of parts) enqueueAll();
    onChange();
  };
  return {
    isGone: () => gone,
    start: () => {
      heardAt = performance.now();
      for (const { informer, reconciler } of parts) {
        informer.start();
        reconciler.start();
      }
      probing = regularly({ everyMs, signal: stopping.signal }, probe, (error) =>
        context.log.debug("Cannot ask whether there is a trigger service", { error }),
      );
    },
    stop: async () => {
      stopping.abort();
      await Promise.all([
        probing,
        ...parts.flatMap(({ informer, reconciler }) => [informer.stop(), reconciler.stop()]),
      ]);
    },
    reconcilers: parts.map(({ reconciler }) => reconciler),
  };
}

function part<T extends Trigger>(
  context: Pick<ControllerContext, "client" | "log" | "now">,
  type: ResourceType<T>,
  condition: string,
  isGone: () => boolean,
): { informer: Informer<T>; reconciler: Reconciler; enqueueAll: () => void } {
  const { client, log } = context;
  const informer = createInformer<T>({
    client,
    type,
    onError: (error, failures) => watchWarnings(log)(type.kind, error, failures),
  });
  const reconciler = createReconciler({
    name: `${type.kind} unattended`,
    concurrency: 2,
    reconcile: markUnattended(context, type, informer, condition, isGone),
    onError: (key, error) => log.warn("Cannot reconcile", { kind: type.kind, key, error }),
  });
  informer.subscribe({
    onChange: (change) => {
      if (change.type === "add" && isGone()) reconciler.queue.add(change.key);
    },
  });
  return {
    informer,
    reconciler,
    enqueueAll: () => {
      for (const { metadata } of informer.list())
        reconciler.queue.add(`${metadata.namespace ?? "default"}/${metadata.name}`);
    },
  };
}

function markUnattended<T extends Trigger>(
  { client, now }: Pick<ControllerContext, "client" | "now">,
  type: ResourceType<T>,
  informer: Informer<T>,
  condition: string,
  isGone: () => boolean,
): Reconcile {
  const own = createOwnWrites();
  return async (key) => {
    const trigger = informer.get(key);
    if (!trigger || !isGone() || trigger.metadata.deletionTimestamp) {
      own.forget(key);
      return done;
    }
    const updates = [condition, "Ready"].map(
      (each): ConditionUpdate => ({ type: each, status: "Unknown", ...NO_TRIGGER_SERVICE }),
    );
    const { generation } = trigger.metadata;
    const conditions = setConditions(trigger.status?.conditions, updates, { generation, now: now() });
    try {
      const status = { ...trigger.status, connected: false, conditions: [...conditions] };
      await writeStatus(client, type, trigger, status, own);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return done;
  };
}
