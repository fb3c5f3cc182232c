import type {
  FunctionAlias,
  FunctionVersion,
  HTTPTrigger,
  HTTPTriggerStatus,
} from "../../api/kinds/index.ts";
import { claimShape, routeClaims } from "../../api/routes.ts";
import { type ConditionUpdate, setConditions } from "../../kube/conditions.ts";
import { HTTP_TRIGGERS } from "../../kube/kinds.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import type { Change } from "../../kube/object-cache.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { done, type Reconcile } from "../../kube/reconcile.ts";
import { type ControllerContext, writeStatus } from "../context.ts";
import { surroundingsIn } from "../trigger-target.ts";
import { BY_CLAIM, BY_FUNCTION, BY_WORKFLOW, type World } from "../world.ts";
import { triggerConditions } from "./check.ts";
import type { ExposureKeeper } from "./exposure.ts";

/**
 * Says whether a route is taken and whether it leads anywhere, and keeps its Ingress or HTTPRoute. The router serves routes by the same
 * rules, without waiting for this. Without `exposure` (a laptop) no such objects are made.
 */
export function triggerReconcile(
  { client, world, now }: ControllerContext,
  exposure?: ExposureKeeper,
): Reconcile {
  const own = createOwnWrites();
  return async (key) => {
    const trigger = world.triggers.get(key);
    if (!trigger || trigger.metadata.deletionTimestamp) {
      own.forget(key);
      await exposure?.settle(key, undefined, false);
      return done;
    }
    if (own.isStale(key, trigger)) return done;
    const updates = conditionsOf(trigger, world, exposure !== undefined);
    const admitted = updates.some(({ type, status }) => type === "RouteAdmitted" && status === "True");
    const exposed = await exposure?.settle(key, trigger, admitted);
    try {
      const next = nextStatus(trigger, withExposure(updates, exposed), now());
      await writeStatus(client, HTTP_TRIGGERS, trigger, next, own);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return done;
  };
}

function conditionsOf(trigger: HTTPTrigger, world: World, exposes: boolean): ConditionUpdate[] {
  const namespace = trigger.metadata.namespace ?? "default";
  return triggerConditions(trigger, {
    ...surroundingsIn(world, namespace),
    rivals: shapesOf(trigger).flatMap((shape) => world.triggers.byIndex(BY_CLAIM, shape)),
    exposes,
  });
}

/** A route that shall be offered outside and is not, is not ready. */
function withExposure(updates: ConditionUpdate[], exposed: ConditionUpdate | undefined): ConditionUpdate[] {
  if (!exposed) return updates;
  const { status, reason, message } = exposed;
  return [
    ...updates.map((update) =>
      update.type === "Ready" && update.status === "True" && status === "False"
        ? { ...update, status, reason, message }
        : update,
    ),
    exposed,
  ];
}

function nextStatus(trigger: HTTPTrigger, updates: ConditionUpdate[], now: Date): HTTPTriggerStatus {
  const generation = trigger.metadata.generation;
  const before = trigger.status ?? {};
  const asked = updates.some(({ type }) => type === "Exposed");
  const kept = before.conditions?.filter(({ type }) => asked || type !== "Exposed");
  const unchanged = kept?.length === before.conditions?.length;
  const conditions = setConditions(unchanged ? before.conditions : kept, updates, { generation, now });
  return {
    ...before,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    conditions: [...conditions],
  };
}

function shapesOf(trigger: HTTPTrigger): string[] {
  return routeClaims(trigger).claims.map(claimShape);
}

/** Brings a trigger to the queue when it, a rival for its paths, or what it calls changes. */
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
  world.workflows.subscribe({
    onChange: ({ key }) => enqueueAll(world.triggers.byIndex(BY_WORKFLOW, key)),
  });
  const ofFunction = {
    onChange: (change: Change<FunctionAlias> | Change<FunctionVersion>) => {
      const { metadata, spec } = change.type === "delete" ? change.previous : change.object;
      const key = `${metadata.namespace ?? "default"}/${spec.functionName}`;
      enqueueAll(world.triggers.byIndex(BY_FUNCTION, key));
    },
  };
  world.aliases.subscribe(ofFunction);
  world.versions.subscribe(ofFunction);
}
