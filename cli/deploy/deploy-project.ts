import { relative } from "node:path";
import type { KubeClient } from "../../kube/client.ts";
import type { OpsClient } from "../ops-client.ts";
import { CliError } from "../command.ts";
import { applyObject, checkObject } from "./apply.ts";
import type { Target } from "./desired-objects.ts";
import type { FoundFunction, Project } from "./find-functions.ts";
import { keepAliases } from "./keep-aliases.ts";
import type { LiveObjects } from "./live.ts";
import { planObject, type PlannedObject } from "./plan.ts";
import { type Prepared, prepareFunction } from "./prepare.ts";
import { uploadArchive } from "./upload.ts";

export interface DeployAccess {
  kube: KubeClient;
  ops: OpsClient;
  live: LiveObjects;
  target: Target;
  /** Leave routes on the aliases that they go through; otherwise they call the function itself again. */
  keepAliases?: boolean;
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

const pathOf = (project: Project, { entry }: { entry: string }): string => relative(project.root, entry);

/** Names come from files and from `config.name`: only once all are read can two of them be seen to be the same. */
function checkNames(project: Project, functions: ProjectPlan["functions"]): void {
  const seen = new Map<string, string>();
  for (const { prepared } of functions) {
    for (const [kind, object] of objectsOf(prepared)) {
      const key = `${kind} "${object.metadata.name}"`;
      const file = pathOf(project, prepared);
      const other = seen.get(key);
      if (other) throw new CliError(`Cannot deploy "${other}" and "${file}": both would be ${key}`);
      seen.set(key, file);
    }
  }
}

/**
 * Compares what the files say with what is there, and has the API check it. Writes nothing.
 * @throws {CliError} naming the file
 */
export async function planProject(
  project: Project,
  chosen: readonly FoundFunction[],
  access: DeployAccess,
): Promise<ProjectPlan> {
  const functions = [];
  for (const found of chosen) {
    const fromFile = await prepareFunction(project, found, access.target);
    const prepared = access.keepAliases
      ? { ...fromFile, objects: keepAliases(fromFile.objects, access.live) }
      : fromFile;
    functions.push({
      prepared,
      actions: objectsOf(prepared).map(([kind, object]) =>
        planObject(kind, object, access.live.find(kind, object.metadata.name)),
      ),
    });
  }
  checkNames(project, functions);
  await Promise.all(
    functions.flatMap(({ prepared, actions }) =>
      actions.map((action) => checkObject(access.kube, action, pathOf(project, prepared))),
    ),
  );
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

/** Uploads the sources and writes what the plan says. Routes of a function go away before the function, so that nobody meets half of it. */
export async function applyPlan(
  plan: ProjectPlan,
  access: DeployAccess,
  options: { prune: boolean },
): Promise<void> {
  await Promise.all(
    plan.functions.map(async ({ prepared, actions }) => {
      await uploadArchive(access.ops, prepared.archive);
      for (const action of actions) await applyObject(access.kube, action);
    }),
  );
  if (!options.prune) return;
  for (const action of plan.leftover.toReversed()) await applyObject(access.kube, action);
  await untilGone(plan.leftover, access.live);
}

const GONE_TIMEOUT_MS = 5_000;
const GONE_POLL_MS = 5;

/** The next plan must not take what was just deleted for something that is there. */
async function untilGone(deleted: readonly PlannedObject[], live: LiveObjects): Promise<void> {
  const deadline = performance.now() + GONE_TIMEOUT_MS;
  const isThere = ({ kind, object }: PlannedObject): boolean =>
    live.find(kind, object.metadata.name)?.metadata.uid === object.metadata.uid;
  while (deleted.some(isThere) && performance.now() < deadline)
    await new Promise((done) => setTimeout(done, GONE_POLL_MS));
}
