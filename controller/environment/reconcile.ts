import type { Environment, EnvironmentStatus } from "../../api/kinds/index.ts";
import { ENVIRONMENT_DEFAULTS } from "../../api/kinds/index.ts";
import { type ConditionUpdate, setConditions } from "../../kube/conditions.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import { ENVIRONMENTS } from "../../kube/kinds.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { done, type Reconcile } from "../../kube/reconcile.ts";
import { type ControllerContext, writeStatus } from "../context.ts";
import { runtimeProblem } from "../function/pods.ts";
import { contractOf, contractProblem } from "../function/contract.ts";
import type { World } from "../world.ts";

/** Says whether functions can run in an environment, and what of it has no effect. */
export function environmentReconcile({ client, world, now }: ControllerContext): Reconcile {
  const own = createOwnWrites();
  return async (key) => {
    const environment = world.environments.get(key);
    if (!environment || environment.metadata.deletionTimestamp) {
      own.forget(key);
      return done;
    }
    if (own.isStale(key, environment)) return done;
    try {
      await writeStatus(client, ENVIRONMENTS, environment, nextEnvironmentStatus(environment, now()), own);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return done;
  };
}

/** Pure. */
export function nextEnvironmentStatus(environment: Environment, now: Date): EnvironmentStatus {
  const generation = environment.metadata.generation;
  const before = environment.status ?? {};
  const conditions = setConditions(before.conditions, [readyCondition(environment)], { generation, now });
  return {
    ...before,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    conditions: [...conditions],
  };
}

const FIXED_POOLSIZE = 3;

function readyCondition(environment: Environment): ConditionUpdate {
  const { spec } = environment;
  const problem = contractProblem(environment) ?? runtimeProblem(environment);
  if (problem) return { type: "Ready", status: "False", ...problem };
  const poolsize = spec.version < 3 ? FIXED_POOLSIZE : (spec.poolsize ?? ENVIRONMENT_DEFAULTS.poolsize);
  const notes = [`A pool of ${poolsize} pods of "${spec.runtime.image}" is kept ready`];
  if (poolsize === 0)
    notes[0] = `No pods are kept ready: the first call waits until one of "${spec.runtime.image}" has started`;
  if (spec.version < 3 && spec.poolsize !== undefined && spec.poolsize !== FIXED_POOLSIZE) {
    notes.push(`spec.poolsize has no effect before version 3`);
  }
  if (!spec.builder?.image) notes.push("it has no builder, so its packages must come built");
  const { contract } = contractOf(environment);
  if (!contract && spec.allowedFunctionsPerContainer === "infinite") {
    notes.push("allowedFunctionsPerContainer=infinite has no effect: every function gets pods of its own");
  }
  if (!contract && spec.keeparchive) notes.push("keeparchive has no effect on this image");
  return { type: "Ready", status: "True", reason: "PoolConfigured", message: notes.join("; ") };
}

export function watchEnvironments(world: World, enqueue: (key: string) => void): void {
  world.environments.subscribe({ onChange: ({ key }) => enqueue(key) });
}
