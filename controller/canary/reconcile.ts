/** Brings canaries to whoever runs them (`run-canary.ts`), each with what this process knows of it. */
import type { CanaryConfig } from "../../api/kinds/index.ts";
import { isConflict, isNotFound } from "../../kube/kube-error.ts";
import { keyOf } from "../../kube/object.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { after, done, type Reconcile } from "../../kube/reconcile.ts";
import type { ControllerContext } from "../context.ts";
import { type CanaryState, isFinished } from "./decide.ts";
import type { CanaryMemory } from "./keep-state.ts";
import { type RecentSeconds, recentSeconds } from "./recent-seconds.ts";
import { type CanaryOptions, canaryRunner, STALE_RETRY_MS } from "./run-canary.ts";

/** What runs now, for the live view. */
export interface LiveCanaries {
  get(key: string): { readonly state: CanaryState; readonly recent: RecentSeconds } | undefined;
}

export function canaryReconcile(
  context: ControllerContext,
  options: CanaryOptions,
): { reconcile: Reconcile; live: LiveCanaries } {
  const { canaries } = context.world;
  const own = createOwnWrites();
  const memories = new Map<string, CanaryMemory>();

  const memoryOf = (key: string, canary: CanaryConfig): CanaryMemory => {
    const { uid } = canary.metadata;
    const known = memories.get(key);
    if (known?.uid === uid && known) return known;
    const state = canary.status ?? {};
    const memory = { uid, state, recent: recentSeconds(), writtenAtMs: 0, told: state.decisions };
    memories.set(key, memory);
    return memory;
  };
  const runner = canaryRunner(context, options, own);

  return {
    live: { get: (key) => memories.get(key) },
    reconcile: async (key) => {
      const canary = canaries.get(key);
      if (!canary) {
        memories.delete(key);
        own.forget(key);
        return done;
      }
      if (own.isStale(key, canary)) return after(STALE_RETRY_MS);
      try {
        const memory = memoryOf(key, canary);
        return await (canary.metadata.deletionTimestamp
          ? runner.end(key, canary, memory)
          : runner.step(key, canary, memory));
      } catch (error) {
        if (isNotFound(error)) return done;
        // Somebody else wrote: what is in the cache soon is looked at anew, without a step of back-off.
        if (isConflict(error)) return after(STALE_RETRY_MS);
        throw error;
      }
    },
  };
}

/** Brings a canary to the queue when it, its trigger, its alias or one of its functions or versions changes. */
export function watchCanaries(world: ControllerContext["world"], enqueue: (key: string) => void): void {
  const { canaries } = world;
  canaries.subscribe({ onChange: ({ key }) => enqueue(key) });
  const namesOf = ({ spec }: CanaryConfig) => [spec.trigger, spec.newfunction, spec.oldfunction];
  const wake = ({ key }: { key: string }): void => {
    const [namespace, name = ""] = key.split("/");
    for (const canary of canaries.list()) {
      if ((canary.metadata.namespace ?? "default") !== namespace || isFinished(canary.status ?? {})) continue;
      if (namesOf(canary).includes(name) || canary.status?.phase === "waiting") enqueue(keyOf(canary));
    }
  };
  world.triggers.subscribe({ onChange: wake });
  world.aliases.subscribe({ onChange: wake });
  world.functions.subscribe({ onChange: wake });
  world.versions.subscribe({ onChange: wake });
}
