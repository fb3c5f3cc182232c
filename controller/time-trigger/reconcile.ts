import type { FunctionAlias, FunctionVersion } from "../../api/kinds/index.ts";
import { setConditions } from "../../kube/conditions.ts";
import { TIME_TRIGGERS } from "../../kube/kinds.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import type { Change } from "../../kube/object-cache.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { after, done, type Reconcile } from "../../kube/reconcile.ts";
import { type ControllerContext, writeStatus } from "../context.ts";
import { surroundingsIn } from "../trigger-target.ts";
import { BY_FUNCTION, type World } from "../world.ts";
import { timerConditions } from "./timer-conditions.ts";

const LONGEST_WAIT_MS = 3_600_000;

/** Says whether a schedule is one and whether what it calls is there. The trigger service fires by the same rules, without waiting for this. */
export function timerReconcile(
  { client, world, now }: ControllerContext,
  isUnattended: () => boolean,
): Reconcile {
  const own = createOwnWrites();
  return async (key) => {
    const timer = world.timers.get(key);
    if (!timer || timer.metadata.deletionTimestamp) {
      own.forget(key);
      return done;
    }
    if (own.isStale(key, timer)) return done;
    const generation = timer.metadata.generation;
    const time = now();
    const updates = timerConditions(
      timer,
      surroundingsIn(world, timer.metadata.namespace ?? "default"),
      time,
      isUnattended(),
    );
    const conditions = setConditions(timer.status?.conditions, updates, { generation, now: time });
    try {
      await writeStatus(
        client,
        TIME_TRIGGERS,
        timer,
        {
          ...timer.status,
          ...(generation === undefined ? {} : { observedGeneration: generation }),
          conditions: [...conditions],
        },
        own,
      );
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    const endsInMs = Date.parse(timer.spec.endTime ?? "") - time.getTime();
    return endsInMs > 0 ? after(Math.min(endsInMs + 1, LONGEST_WAIT_MS)) : done;
  };
}

/** Brings a timer to the queue when it or what it calls changes; what only its fires have changed needs no look. */
export function watchTimers(world: World, enqueue: (key: string) => void): void {
  const enqueueAll = (functionKey: string) => {
    for (const { metadata } of world.timers.byIndex(BY_FUNCTION, functionKey))
      enqueue(`${metadata.namespace ?? "default"}/${metadata.name}`);
  };
  world.timers.subscribe({
    onChange: (change) => {
      if (
        change.type !== "update" ||
        change.object.metadata.generation !== change.previous.metadata.generation
      )
        enqueue(change.key);
    },
  });
  world.functions.subscribe({ onChange: ({ key }) => enqueueAll(key) });
  const ofFunction = {
    onChange: (change: Change<FunctionAlias> | Change<FunctionVersion>) => {
      const { metadata, spec } = change.type === "delete" ? change.previous : change.object;
      enqueueAll(`${metadata.namespace ?? "default"}/${spec.functionName}`);
    },
  };
  world.aliases.subscribe(ofFunction);
  world.versions.subscribe(ofFunction);
  world.workflows.subscribe({
    onChange: ({ key }) => {
      for (const { metadata, spec } of world.timers.list())
        if (
          spec.functionref.type === "workflow" &&
          `${metadata.namespace ?? "default"}/${spec.functionref.name}` === key
        )
          enqueue(`${metadata.namespace ?? "default"}/${metadata.name}`);
    },
  });
}
