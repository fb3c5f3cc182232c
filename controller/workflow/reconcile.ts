import type { Package, Workflow } from "../../api/kinds/index.ts";
import { PlatformError } from "../../api/errors.ts";
import { NO_WORKFLOW_SERVICE } from "../../api/workflow-errors.ts";
import type { CheckDefinition, DefinitionCheck } from "../../api/wire/workflows.ts";
import { findCondition } from "../../kube/conditions.ts";
import { isNotFound } from "../../kube/kube-error.ts";
import { WORKFLOWS } from "../../kube/kinds.ts";
import { keyOf } from "../../kube/object.ts";
import { createOwnWrites } from "../../kube/own-writes.ts";
import { after, done, type Outcome, type Reconcile } from "../../kube/reconcile.ts";
import { type ControllerContext, writeStatus } from "../context.ts";
import { BY_PACKAGE, type World } from "../world.ts";
import type { Reference } from "./workflow-references.ts";
import { nextWorkflowStatus, type Progress } from "./workflow-status.ts";

/**
 * Has a Workflow's definition checked and stored, and says in its status what new runs are made of and what is missing.
 *
 * Invariants:
 * W1. `status.definition` names a definition that was found to be without fault and is stored.
 * W2. A definition is checked anew only when the Workflow or its package's archive changed, or this process is new.
 */

/** `POST /v1/definitions/check` of the workflow service. Rejects with `PlatformError` workflows_unavailable and the like: tried again. */
export type DefinitionChecker = (request: CheckDefinition) => Promise<DefinitionCheck>;

const RETRY_MS = 2_000;

export function workflowReconcile(
  context: ControllerContext,
  check: DefinitionChecker | undefined,
): Reconcile {
  const { client, world, events, now } = context;
  const own = createOwnWrites();
  const checks = new Map<string, { inputs: string; check: DefinitionCheck }>();
  const checked = async (workflow: Workflow, request: CheckDefinition): Promise<DefinitionCheck> => {
    const key = keyOf(workflow);
    const inputs = JSON.stringify([workflow.metadata.uid, workflow.metadata.generation, request.archive]);
    const known = checks.get(key);
    if (known?.inputs === inputs) return known.check;
    if (!check) throw new PlatformError("workflows_unavailable", NO_WORKFLOW_SERVICE);
    const made = await check(request);
    checks.set(key, { inputs, check: made });
    return made;
  };
  return async (key) => {
    const workflow = world.workflows.get(key);
    if (!workflow || workflow.metadata.deletionTimestamp) {
      own.forget(key);
      checks.delete(key);
      return done;
    }
    if (own.isStale(key, workflow)) return done;
    const { progress, outcome } = await progressOf(workflow, world, checked);
    const missing = (references: readonly Reference[]) => missingReferences(workflow, references, world);
    const next = nextWorkflowStatus(workflow, progress, missing, now());
    try {
      await writeStatus(client, WORKFLOWS, workflow, next, own);
    } catch (error) {
      if (isNotFound(error)) return done;
      throw error;
    }
    tell(workflow, next.conditions, events);
    return outcome;
  };
}

function tell(
  workflow: Workflow,
  conditions: NonNullable<Workflow["status"]>["conditions"],
  events: ControllerContext["events"],
): void {
  const [old, ready] = [workflow.status?.conditions, conditions].map((list) => findCondition(list, "Ready"));
  if (!ready || (old?.status === ready.status && old.message === ready.message)) return;
  if (ready.status === "True") events.record(workflow, "Normal", ready.reason, ready.message);
  else if (ready.reason === "Invalid" || ready.reason === "ReferenceNotFound")
    events.record(workflow, "Warning", ready.reason, ready.message);
}

async function progressOf(
  workflow: Workflow,
  world: World,
  check: (workflow: Workflow, request: CheckDefinition) => Promise<DefinitionCheck>,
): Promise<{ progress: Progress; outcome: Outcome }> {
  const namespace = workflow.metadata.namespace ?? "default";
  const { name } = workflow.metadata;
  const { package: reference, export: exported, ...spec } = workflow.spec;
  const archive = reference && packageArchive(namespace, reference.name ?? "", world);
  if (archive && "message" in archive) return { progress: { kind: "waiting", ...archive }, outcome: done };
  const json: CheckDefinition["spec"] = JSON.parse(JSON.stringify(spec));
  try {
    const made = await check(workflow, {
      namespace,
      name,
      ...(archive ? { archive: archive.digest } : { spec: json }),
      ...(exported === undefined ? {} : { export: exported }),
    });
    return {
      progress: { kind: "checked", check: made, ...(archive ? { packageDigest: archive.digest } : {}) },
      outcome: done,
    };
  } catch (error) {
    if (!(error instanceof PlatformError)) throw error;
    const message = `The definition cannot be checked now: ${error.message}`;
    return { progress: { kind: "waiting", reason: "ServiceUnavailable", message }, outcome: after(RETRY_MS) };
  }
}

function packageArchive(
  namespace: string,
  name: string,
  world: World,
): { digest: string } | { reason: string; message: string } {
  const pkg: Package | undefined = world.packages.get(`${namespace}/${name}`);
  if (!pkg)
    return { reason: "PackageNotFound", message: `Package "${name}" not found in namespace "${namespace}"` };
  const ready = findCondition(pkg.status?.conditions, "Ready");
  const digest = pkg.status?.contentHash;
  const current = ready?.observedGeneration === pkg.metadata.generation;
  if (ready && current && ready.status === "True" && digest) return { digest };
  if (ready?.status === "False" && current && ready.reason !== "Building")
    return { reason: ready.reason, message: `Package "${name}" is not ready: ${ready.message}` };
  return {
    reason: "PackageBuilding",
    message: `Package "${name}" is not built yet: ${pkg.status?.buildstatus || "pending"}`,
  };
}

/** A sentence for each reference that leads nowhere. */
function missingReferences(workflow: Workflow, references: readonly Reference[], world: World): string[] {
  const namespace = workflow.metadata.namespace ?? "default";
  const found = {
    Function: world.functions,
    FunctionAlias: world.aliases,
    FunctionVersion: world.versions,
    Workflow: world.workflows,
  } as const;
  return references
    .filter(({ kind, name }) => !found[kind].get(`${namespace}/${name}`))
    .map(({ kind, name, actor }) => `Step "${actor}" names ${kind} "${name}", which does not exist`);
}

/** Brings a Workflow to the queue when it, its package, or anything that it may name changes. */
export function watchWorkflows(world: World, enqueue: (key: string) => void): void {
  world.workflows.subscribe({ onChange: ({ key }) => enqueue(key) });
  world.packages.subscribe({
    onChange: ({ key }) => {
      for (const workflow of world.workflows.byIndex(BY_PACKAGE, key)) enqueue(keyOf(workflow));
    },
  });
  // What a definition names is known once it was checked; Workflows are few, and looking again is cheap.
  const inNamespaceOf = ({ metadata }: { metadata: { namespace?: string } }): void => {
    for (const workflow of world.workflows.list())
      if ((workflow.metadata.namespace ?? "default") === (metadata.namespace ?? "default"))
        enqueue(keyOf(workflow));
  };
  const comesOrGoes = { onAdd: inNamespaceOf, onDelete: inNamespaceOf };
  world.functions.subscribe(comesOrGoes);
  world.aliases.subscribe(comesOrGoes);
  world.versions.subscribe(comesOrGoes);
  world.workflows.subscribe(comesOrGoes);
}
