import type { Workflow, WorkflowStatus } from "../../api/kinds/index.ts";
import type { DefinitionCheck } from "../../api/wire/workflows.ts";
import { type ConditionUpdate, setConditions } from "../../kube/conditions.ts";
import { type Reference, referencesOf } from "./workflow-references.ts";

/** How far a Workflow has come. */
export type Progress =
  /** What it is made of is not there yet. */
  | { readonly kind: "waiting"; readonly reason: string; readonly message: string }
  | { readonly kind: "checked"; readonly check: DefinitionCheck; readonly packageDigest?: string };

const MAX_PROBLEMS = 20;

/**
 * A Workflow's next status. A newer definition that is faulty, or is not there yet, leaves the one before it to new runs. Pure.
 * @param missing of the references, what does not exist
 */
export function nextWorkflowStatus(
  workflow: Workflow,
  progress: Progress,
  missing: (references: readonly Reference[]) => readonly string[],
  now: Date,
): WorkflowStatus {
  const before = workflow.status ?? {};
  const generation = workflow.metadata.generation ?? 0;
  const definition = definitionOf(workflow, progress) ?? before.definition;
  const validated = validatedCondition(progress);
  const ready = readyCondition(validated, progress, missing, definition?.generation === generation);
  return {
    ...before,
    observedGeneration: generation,
    ...(definition ? { definition } : {}),
    ...heldAfter(before, definition),
    conditions: [...setConditions(before.conditions, [validated, ready], { generation, now })],
  };
}

const MAX_HELD = 256;

/** A definition that is replaced is held from then on, until the workflow service finds that no run pins it any more. */
function heldAfter(
  before: WorkflowStatus,
  definition: WorkflowStatus["definition"],
): Pick<WorkflowStatus, "heldDefinitions"> {
  const held = before.heldDefinitions ?? [];
  const replaced = before.definition?.digest;
  if (replaced === undefined || replaced === definition?.digest) return {};
  const others = held.filter((digest) => digest !== definition?.digest && digest !== replaced);
  return { heldDefinitions: [...others, replaced].slice(-MAX_HELD) };
}

function definitionOf(workflow: Workflow, progress: Progress): WorkflowStatus["definition"] {
  if (progress.kind !== "checked" || progress.check.digest === undefined) return undefined;
  const { functions, events } = referencesOf(progress.check.facts);
  return {
    digest: progress.check.digest,
    generation: workflow.metadata.generation ?? 0,
    ...(progress.packageDigest === undefined ? {} : { packageDigest: progress.packageDigest }),
    functions: [...new Set(functions.map(({ name }) => name))].toSorted(),
    ...(events.length > 0 ? { events: [...events] } : {}),
  };
}

function validatedCondition(progress: Progress): ConditionUpdate {
  if (progress.kind === "waiting")
    return { type: "Validated", status: "Unknown", reason: progress.reason, message: progress.message };
  const { problems } = progress.check;
  const errors = problems.filter(({ severity }) => severity === "error");
  if (errors.length > 0) {
    const more = errors.length > MAX_PROBLEMS ? `; and ${errors.length - MAX_PROBLEMS} more` : "";
    const sentences = errors.slice(0, MAX_PROBLEMS).map(({ place, message }) => `${place}: ${message}`);
    return {
      type: "Validated",
      status: "False",
      reason: "Invalid",
      message: `The definition cannot be run: ${sentences.join("; ")}${more}`,
    };
  }
  const warnings = problems.map(({ place, message }) => `${place}: ${message}`);
  return {
    type: "Validated",
    status: "True",
    reason: "Valid",
    message: `The definition can be run${warnings.length > 0 ? `; ${warnings.join("; ")}` : ""}`,
  };
}

function readyCondition(
  validated: ConditionUpdate,
  progress: Progress,
  missing: (references: readonly Reference[]) => readonly string[],
  current: boolean,
): ConditionUpdate {
  if (validated.status !== "True" || progress.kind !== "checked")
    return {
      type: "Ready",
      status: "False",
      reason: validated.reason,
      message: current ? `${validated.message}; new runs take the definition before it` : validated.message,
    };
  const { functions, workflows } = referencesOf(progress.check.facts);
  const gone = missing([...functions, ...workflows]);
  if (gone.length > 0)
    return { type: "Ready", status: "False", reason: "ReferenceNotFound", message: gone.join("; ") };
  return { type: "Ready", status: "True", reason: "Ready", message: "Runs can be started" };
}
