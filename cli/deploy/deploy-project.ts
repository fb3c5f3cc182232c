import type { KubeClient } from "../../kube/client.ts";
import type { OpsClient } from "../ops-client.ts";
import { applyObject } from "./apply.ts";
import type { Target } from "./desired-objects.ts";
import type { FoundFunction, Project } from "./find-functions.ts";
import type { LiveObjects } from "./live.ts";
import { planObject, type PlannedObject } from "./plan.ts";
import { type Prepared, prepareFunction } from "./prepare.ts";

export interface DeployAccess {
  kube: KubeClient;
  ops: OpsClient;
  live: LiveObjects;
  target: Target;
}

export interface ProjectPlan {
  functions: { prepared: Prepared; actions: PlannedObject[] }[];
  /** Objects of this project that no file stands for any more. */
  leftover: PlannedObject[];
}

const objectsOf = ({ objects }: Prepared): [string, PlannedObject["object"]][] => [
  ["Package", objects.package],
  ["Function", objects.function],
  ...objects.triggers.map((trigger): [string, PlannedObject["object"]] => ["HTTPTrigger", trigger]),
  ...objects.timers.map((timer): [string, PlannedObject["object"]] => ["TimeTrigger", timer]),
];

/** Uploads sources and compares what the files say with what is there. Writes no object. */
export async function planProject(
  project: Project,
  chosen: readonly FoundFunction[],
  access: DeployAccess,
): Promise<ProjectPlan> {
  const functions = [];
  for (const found of chosen) {
    const prepared = await prepareFunction(project, found, access.ops, access.target);
    functions.push({
      prepared,
      actions: objectsOf(prepared).map(([kind, object]) =>
        planObject(kind, object, access.live.find(kind, object.metadata.name)),
      ),
    });
  }
  const wanted = new Set(
    functions.flatMap(({ actions }) => actions.map(({ kind, object }) => `${kind}/${object.metadata.name}`)),
  );
  const whole = chosen.length === project.functions.length;
  const leftover = whole
    ? access.live
        .owned(access.target.deployment)
        .filter(({ kind, object }) => !wanted.has(`${kind}/${object.metadata.name}`))
        .map(
          ({ kind, object }): PlannedObject => ({
            action: "delete",
            kind,
            object,
            live: object,
            changes: [],
          }),
        )
    : [];
  return { functions, leftover };
}

/** Writes what the plan says. Routes of a function go away before the function, so that nobody meets half of it. */
export async function applyPlan(
  plan: ProjectPlan,
  access: DeployAccess,
  options: { prune: boolean },
): Promise<void> {
  await Promise.all(
    plan.functions.map(async ({ actions }) => {
      for (const action of actions) await applyObject(access.kube, action);
    }),
  );
  if (options.prune) for (const action of plan.leftover.toReversed()) await applyObject(access.kube, action);
}
