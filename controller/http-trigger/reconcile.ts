import type { HTTPTrigger, HTTPTriggerStatus } from "../../api/kinds/index.ts";
import { claimShape, routeClaims } from "../../api/routes.ts";
import { setConditions } from "../../kube/conditions.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import { HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { done, type Reconcile } from "../../kube/reconcile.ts";
import { type ControllerContext, writeStatus } from "../context.ts";
import { BY_CLAIM, BY_FUNCTION, type World } from "../world.ts";
import { triggerConditions } from "./check.ts";

/** Says whether a route is taken and whether it leads anywhere. The router serves routes by the same rules, without waiting for this. */
export function triggerReconcile({ client, world, now }: ControllerContext): Reconcile {
  const own = createOwnWrites();
  return async (key) => {
    const trigger = world.triggers.get(key);
    if (!trigger || trigger.metadata.deletionTimestamp) {
      own.forget(key);
      return done;
    }
    if (own.isStale(key, trigger)) return done;
    try {
      await writeStatus(client, HTTP_TRIGGERS, trigger, nextTriggerStatus(trigger, world, now()), own);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return done;
  };
}

function nextTriggerStatus(trigger: HTTPTrigger, world: World, now: Date): HTTPTriggerStatus {
  const namespace = trigger.metadata.namespace ?? "default";
  const generation = trigger.metadata.generation;
  const updates = triggerConditions(trigger, {
    findFunction: (name) => world.functions.get(`${namespace}/${name}`),
    rivals: shapesOf(trigger).flatMap((shape) => world.triggers.byIndex(BY_CLAIM, shape)),
  });
  const before = trigger.status ?? {};
  const conditions = setConditions(before.conditions, updates, { generation, now });
  return {
    ...before,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    conditions: [...conditions],
  };
}

function shapesOf(trigger: HTTPTrigger): string[] {
  return routeClaims(trigger).claims.map(claimShape);
}

/** Brings a trigger to the queue when it, a rival for its paths, or its function changes. */
export function watchTriggers(world: World, enqueue: (key: string) => void): void {
  const enqueueAll = (triggers: readonly HTTPTrigger[]) => {
    for (const { metadata } of triggers) enqueue(`${metadata.namespace ?? "default"}/${metadata.name}`);
  };
  world.triggers.subscribe({
    onChange: (change) => {
      enqueue(change.key);
      const versions = change.type === "update" ? [change.object, change.previous] : [];
      if (
        change.type === "update" &&
        change.object.metadata.generation === change.previous.metadata.generation
      )
        return;
      if (change.type === "add") versions.push(change.object);
      if (change.type === "delete") versions.push(change.previous);
      for (const shape of versions.flatMap(shapesOf)) enqueueAll(world.triggers.byIndex(BY_CLAIM, shape));
    },
  });
  world.functions.subscribe({
    onChange: ({ key }) => enqueueAll(world.triggers.byIndex(BY_FUNCTION, key)),
  });
}
