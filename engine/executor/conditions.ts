import type { Cluster, ConditionUpdate } from "./cluster.ts";
import type { ExecutorLog } from "./executor-log.ts";
import type { Pod } from "./pod.ts";
import type { FunctionIdentity } from "./revision.ts";
import { createTimers } from "./timers.ts";

/** Says in the API what became of pods: on the pods themselves, for Kubernetes, and on their Function, for people. */
export interface Conditions {
  /** The pod has its code. Kubernetes counts it as ready from now on. */
  readonly specialised: (pod: Pod) => void;
  /** How the function's pods are. */
  readonly pods: (fn: FunctionIdentity, condition: Omit<ConditionUpdate, "type">) => void;
}

export interface ConditionsOptions {
  readonly cluster: Pick<Cluster, "markSpecialised" | "setCondition" | "emitEvent">;
  readonly log: ExecutorLog;
}

/** Type of the condition on Functions. */
const PODS_READY = "PodsReady";
const RETRY_MS = { first: 200, most: 10_000 };

export function createConditions({ cluster, log }: ConditionsOptions): Conditions {
  const { later } = createTimers();
  /** The newest condition of a function that is being written; a newer one replaces it. */
  const latest = new Map<string, Omit<ConditionUpdate, "type">>();

  const attempt = (what: string, write: () => Promise<void>, wanted: () => boolean, delayMs: number) => {
    if (!wanted()) return;
    write().catch((error: unknown) => {
      log.warn(`cannot write ${what}, trying again`, { error });
      later(delayMs, () => attempt(what, write, wanted, Math.min(delayMs * 2, RETRY_MS.most)));
    });
  };

  return {
    specialised: (pod) =>
      attempt(
        "the readiness of a pod",
        () => cluster.markSpecialised(pod),
        () => pod.phase === "specialised",
        RETRY_MS.first,
      ),
    pods: (fn, condition) => {
      latest.set(fn.uid, condition);
      const failing = condition.status === "False";
      if (failing) {
        log.warn("pods of function do not start", { function: fn.name, message: condition.message });
        const { reason, message } = condition;
        cluster.emitEvent({ kind: "Function", metadata: fn, type: "Warning", reason, message });
      }
      attempt(
        "the condition of a Function",
        async () => {
          await cluster.setCondition(fn, { type: PODS_READY, ...condition });
          if (latest.get(fn.uid) === condition) latest.delete(fn.uid);
        },
        () => latest.get(fn.uid) === condition,
        RETRY_MS.first,
      );
    },
  };
}
