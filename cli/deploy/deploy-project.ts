import { relative } from "node:path";
import type { KubeClient } from "../../kube/client.ts";
import type { OpsClient } from "../ops-client.ts";
import { CliError } from "../command.ts";
import { applyObject, checkObject } from "./apply.ts";
import type { Target } from "./desired-objects.ts";
import { type FoundFunction, type Project, sourcesOf } from "./find-functions.ts";
import { keepAliases, referenceOf } from "./keep-aliases.ts";
import type { LiveObjects } from "./live.ts";
import { planObject, type PlannedObject } from "./plan.ts";
import { type Prepared, prepareFunction, type PreparedWorkflow, prepareWorkflow } from "./prepare.ts";
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
  workflows: { prepared: PreparedWorkflow; actions: PlannedObject[] }[];
  /** Objects of this project that no file stands for any more. */
  leftover: PlannedObject[];
}

const objectsOf = ({ objects }: Prepared): [string, PlannedObject["object"]][] => [
  ["Package", objects.package],
  ["Function", objects.function],
  ...objects.triggers.map((trigger): [string, PlannedObject["object"]] => ["HTTPTrigger", trigger]),
  ...objects.events.map((trigger): [string, PlannedObject["object"]] => [trigger.kind, trigger]),
];

const workflowObjectsOf = ({ objects }: PreparedWorkflow): [string, PlannedObject["object"]][] => [
  ["Package", objects.package],
  ["Workflow", objects.workflow],
  ...objects.triggers.map((trigger): [string, PlannedObject["object"]] => ["HTTPTrigger", trigger]),
];

const pathOf = (project: Project, { entry }: { entry: string }): string => relative(project.root, entry);

interface PlannedSource {
  prepared: { entry: string; archive: Uint8Array };
  actions: PlannedObject[];
}

/** Names come from files and from `config.name`: only once all are read can two of them be seen to be the same. */
function checkNames(project: Project, sources: readonly PlannedSource[]): void {
  const seen = new Map<string, string>();
  for (const { prepared, actions } of sources) {
    for (const { kind, object } of actions) {
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
  const plan = (objects: readonly [string, PlannedObject["object"]][]): PlannedObject[] =>
    objects.map(([kind, object]) => planObject(kind, object, access.live.find(kind, object.metadata.name)));
  const functions = [];
  for (const found of chosen.filter(({ kind }) => kind === "function")) {
    const fromFile = await prepareFunction(project, found, access.target);
    const prepared = access.keepAliases
      ? { ...fromFile, objects: keepAliases(fromFile.objects, access.live) }
      : fromFile;
    functions.push({ prepared, actions: plan(objectsOf(prepared)) });
  }
  const workflows = [];
  for (const found of chosen.filter(({ kind }) => kind === "workflow")) {
    const prepared = await prepareWorkflow(project, found, access.target);
    workflows.push({ prepared, actions: plan(workflowObjectsOf(prepared)) });
  }
  const planned: PlannedSource[] = [...functions, ...workflows];
  checkNames(project, planned);
  await Promise.all(
    planned.flatMap(({ prepared, actions }) =>
      actions.map((action) => checkObject(access.kube, action, pathOf(project, prepared))),
    ),
  );
  const wanted = new Set(
    planned.flatMap(({ actions }) => actions.map(({ kind, object }) => `${kind}/${object.metadata.name}`)),
  );
  const owned = access.live
    .owned(access.target.deployment)
    .filter(({ kind, object }) => !wanted.has(`${kind}/${object.metadata.name}`))
    .map(
      ({ kind, object }): PlannedObject => ({ action: "delete", kind, object, live: object, changes: [] }),
    );
  for (const { prepared, actions } of functions)
    actions.push(...owned.filter((action) => isDropped(action, prepared.name)));
  const dropped = new Set(functions.flatMap(({ actions }) => actions));
  const whole = chosen.length === sourcesOf(project).length;
  const leftover = whole ? owned.filter((action) => !dropped.has(action)) : [];
  return { functions, workflows, leftover };
}

const EVENT_KINDS = new Set(["TimeTrigger", "KubernetesWatchTrigger", "MessageQueueTrigger"]);

/** Whether it is a timer, a watch or a queue of a function whose file does not ask for it any more: it would go on calling by itself. */
const isDropped = ({ kind, object }: PlannedObject, functionName: string): boolean => {
  const reference = EVENT_KINDS.has(kind) ? referenceOf(object) : undefined;
  return reference?.type === "name" && reference.name === functionName;
};

/** Uploads the sources and writes what the plan says. Routes of a function go away before the function, so that nobody meets half of it. */
export async function applyPlan(
  plan: ProjectPlan,
  access: DeployAccess,
  options: { prune: boolean },
): Promise<void> {
  await Promise.all(
    [...plan.functions, ...plan.workflows].map(async ({ prepared, actions }) => {
      await uploadArchive(access.ops, prepared.archive);
      for (const action of actions) await applyObject(access.kube, action);
    }),
  );
  const deleted = plan.functions.flatMap(({ actions }) =>
    actions.filter(({ action }) => action === "delete"),
  );
  if (options.prune) {
    for (const action of plan.leftover.toReversed()) await applyObject(access.kube, action);
    deleted.push(...plan.leftover);
  }
  await untilGone(deleted, access.live);
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
